"""
The mean of several trainings of one model: `python mean.py OUT A=0.3 B=0.7` writes OUT/model.safetensors, with the tokenizer of
the first. Shares add up to 1.
"""
import shutil
import sys
from pathlib import Path

from safetensors.torch import load_file, save_file


def main(out, parts):
    if abs(sum(share for _, share in parts) - 1) > 1e-6:
        sys.exit('the shares do not add up to 1')
    out.mkdir(parents=True, exist_ok=True)
    models = [(load_file(str(folder / 'model.safetensors')), share) for folder, share in parts]
    names = models[0][0]
    whole = {name: sum(model[name] * share for model, share in models).contiguous() for name in names}
    for name in ('tokenizer.json', 'vocabulary.json'):
        shutil.copy(parts[0][0] / name, out / name)
    save_file(whole, str(out / 'model.safetensors'))


if __name__ == '__main__':
    parts = [part.rsplit('=', 1) for part in sys.argv[2:]]
    main(Path(sys.argv[1]), [(Path(folder), float(share)) for folder, share in parts])
