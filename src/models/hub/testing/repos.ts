/** For tests: what a Hub holds. Digests, commits and access are computed as the real one computes them. */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { packageRoot } from '../../../runtime/self.ts'

export interface StoredFile {
  bytes: Buffer
  /** Kept apart from git, as all large files are. */
  lfs: boolean
}

export interface Repo {
  id: string
  gated: false | 'auto' | 'manual'
  private: boolean
  disabled: boolean
  tags: string[]
  /** Branch or tag → commit. */
  refs: Map<string, string>
  /** Commit → path → file. */
  commits: Map<string, Map<string, StoredFile>>
}

export interface Account {
  name: string
  /** Gated repositories that it was granted, private ones that it may see. */
  may: Set<string>
}

export type Contents = Record<string, string | Buffer>

/** As `.gitattributes` of most repositories has it. */
const large = /\.(safetensors|gguf|bin|pt|model)$/

export function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}

export function gitSha1(bytes: Buffer): string {
  return createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex')
}

export class Repos {
  readonly byId = new Map<string, Repo>()
  /** Old name → new name. */
  readonly renamed = new Map<string, string>()
  /** By token. */
  readonly accounts = new Map<string, Account>()

  /** A repository whose main branch has these files; called again, a new commit on it. Gives the commit. */
  put(
    id: string,
    contents: Contents,
    more: Partial<Pick<Repo, 'gated' | 'private' | 'disabled' | 'tags'>> = {},
  ): string {
    const repo = this.byId.get(id) ?? {
      id,
      gated: false,
      private: false,
      disabled: false,
      tags: [],
      refs: new Map(),
      commits: new Map(),
    }
    Object.assign(repo, more)
    const files = new Map(
      Object.entries(contents).map(([path, content]) => {
        const bytes = Buffer.isBuffer(content) ? content : Buffer.from(content)
        return [path, { bytes, lfs: large.test(path) }] as const
      }),
    )
    const said = [...files].map(([path, { bytes }]) => `${path} ${gitSha1(bytes)}`).join('\n')
    const sha = gitSha1(Buffer.from(`${id} ${repo.commits.size}\n${said}`))
    repo.commits.set(sha, files)
    repo.refs.set('main', sha)
    this.byId.set(id, repo)
    return sha
  }

  account(token: string, name: string, ...may: string[]): void {
    this.accounts.set(token, { name, may: new Set(may) })
  }

  commitOf({ refs, commits }: Repo, revision: string): string | null {
    return refs.get(revision) ?? (commits.has(revision) ? revision : null)
  }

  /** The file behind a link to the place of the large ones. */
  large(hash: string): Buffer | null {
    for (const { commits } of this.byId.values())
      for (const files of commits.values())
        for (const { bytes, lfs } of files.values()) if (lfs && sha256(bytes) === hash) return bytes
    return null
  }
}

/** The model that ships with the package: small, and llama.cpp answers with it. */
export const starterBytes = readFileSync(join(packageRoot, 'models', 'starter', 'paddock-starter.gguf'))

/** What a small text model's repository has, but for its weights. */
export const llamaConfig = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  hidden_size: 2048,
  intermediate_size: 8192,
  num_hidden_layers: 16,
  num_attention_heads: 32,
  num_key_value_heads: 8,
  max_position_embeddings: 131_072,
  torch_dtype: 'bfloat16',
}

export function safetensorsRepo(changes: Record<string, unknown> = {}): Contents {
  return {
    'README.md': '# A model',
    'config.json': JSON.stringify({ ...llamaConfig, ...changes }),
    'generation_config.json': '{}',
    'tokenizer.json': '{"version":"1.0"}',
    'tokenizer_config.json': '{"chat_template":"{{ messages }}"}',
    'model-00001-of-00002.safetensors': Buffer.alloc(300_000, 1),
    'model-00002-of-00002.safetensors': Buffer.alloc(200_000, 2),
    'model.safetensors.index.json': '{"weight_map":{}}',
    'pytorch_model.bin': Buffer.alloc(1000, 3),
    'modeling_llama.py': 'raise SystemExit',
    'original/consolidated.00.pth': Buffer.alloc(1000, 4),
  }
}
