import { createCipheriv, createDecipheriv, createHash, createHmac, randomBytes } from 'node:crypto'
import type { Secret } from '../kernel/secret.ts'

/** Seals text at rest (AES-256-GCM, fresh nonce) and derives keys, from one secret of any length ≥ 16 characters. */
export class Seal {
  readonly #key: Buffer
  constructor(secret: Secret) {
    this.#key = createHash('sha256').update('paddock/seal/').update(secret.reveal()).digest()
  }

  seal(plain: string): string {
    const nonce = randomBytes(12)
    const cipher = createCipheriv('aes-256-gcm', this.#key, nonce)
    const body = Buffer.concat([cipher.update(plain, 'utf8'), cipher.final()])
    return `v1.${Buffer.concat([nonce, cipher.getAuthTag(), body]).toString('base64url')}`
  }

  /** Throws when the text was sealed with another key or altered. */
  open(sealed: string): string {
    const bytes = Buffer.from(sealed.slice(3), 'base64url')
    const decipher = createDecipheriv('aes-256-gcm', this.#key, bytes.subarray(0, 12))
    decipher.setAuthTag(bytes.subarray(12, 28))
    return Buffer.concat([decipher.update(bytes.subarray(28)), decipher.final()]).toString('utf8')
  }

  /** The same secret for the same purpose, for ever; knowing one tells nothing of another. */
  derive(purpose: string): string {
    return createHmac('sha256', this.#key).update(purpose).digest('base64url')
  }
}
