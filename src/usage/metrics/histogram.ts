/**
 * Counts of values by size, in buckets of which 64 make an octave: a quantile is wrong by at most 1/128 (0.8 %),
 * wherever it lies, and histograms of several gateways and moments add up without loss. Only buckets that hold something
 * take room.
 *
 * A bucket is (low, high]. Octaves begin at powers of two, so every bound that is a power of two times k/64 is exact:
 * the recommended buckets of OpenTelemetry's durations are, when values are in units of 10 ms.
 */

const bucketsPerOctave = 64
/** Values at or below 2^-10 count as that, those above 2^26 as that. */
const lowestExponent = -10
const highestExponent = 26
const last = (highestExponent - lowestExponent) * bucketsPerOctave

const float = new Float64Array(1)
const words = new Uint32Array(float.buffer)
/** Which of the two words has sign, exponent and the first 20 bits of the fraction. */
const high = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1 ? 1 : 0
/** Six bits of the fraction stay. */
const dropped = 14
const offset = (lowestExponent + 1023) * bucketsPerOctave

/** The bucket of a value; 0 holds everything too small, `last` everything too large. */
function bucketOf(value: number): number {
  float[0] = value
  const top = words[high]!
  // A value on a bound belongs below it.
  const onBound = words[1 - high] === 0 && (top & ((1 << dropped) - 1)) === 0
  const bucket = (top >>> dropped) - offset + (onBound ? 0 : 1)
  if (!(value > 0) || bucket < 0) return 0
  return bucket > last ? last : bucket
}

/** The upper bound of a bucket. */
function boundOf(bucket: number): number {
  const octave = Math.floor(bucket / bucketsPerOctave)
  return 2 ** (octave + lowestExponent) * (1 + (bucket % bucketsPerOctave) / bucketsPerOctave)
}

/** As stored: sum, then bucket (as the distance from the one before) and count in turns. */
export type HistogramLine = number[]

export class Histogram {
  readonly #counts = new Map<number, number>()
  count = 0
  sum = 0

  add(value: number): void {
    const bucket = bucketOf(value)
    this.#counts.set(bucket, (this.#counts.get(bucket) ?? 0) + 1)
    this.count += 1
    // What is no length of time would make every sum to come none either.
    if (bucket > 0 && value < Number.POSITIVE_INFINITY) this.sum += value
  }

  merge(other: Histogram): void {
    for (const [bucket, count] of other.#counts) this.#counts.set(bucket, (this.#counts.get(bucket) ?? 0) + count)
    this.count += other.count
    this.sum += other.sum
  }

  /** Nearest rank, given as the middle of its bucket; null of nothing. `share`: 0.99 for p99. */
  quantile(share: number): number | null {
    if (this.count === 0) return null
    let left = Math.max(1, Math.ceil(this.count * share))
    for (const [bucket, count] of this.#inOrder()) {
      left -= count
      if (left <= 0) return bucket === 0 ? 0 : (boundOf(bucket - 1) + boundOf(bucket)) / 2
    }
    return boundOf(last)
  }

  /** How many values are at most each of `bounds`, which ascend. */
  atMost(bounds: readonly number[]): number[] {
    const buckets = this.#inOrder()
    let at = 0
    let seen = 0
    return bounds.map((bound) => {
      for (; at < buckets.length && boundOf(buckets[at]![0]) <= bound; at += 1) seen += buckets[at]![1]
      return seen
    })
  }

  line(): HistogramLine {
    const line = [Math.round(this.sum * 1e6) / 1e6]
    let before = 0
    for (const [bucket, count] of this.#inOrder()) {
      line.push(bucket - before, count)
      before = bucket
    }
    return line
  }

  static of(line: HistogramLine): Histogram {
    const made = new Histogram()
    made.sum = line[0] ?? 0
    let bucket = 0
    for (let i = 1; i + 1 < line.length; i += 2) {
      bucket += line[i]!
      made.#counts.set(bucket, line[i + 1]!)
      made.count += line[i + 1]!
    }
    return made
  }

  #inOrder(): [number, number][] {
    return [...this.#counts].sort(([a], [b]) => a - b)
  }
}
