/** How much may be uploaded, decided before the first byte is read. Pure. */
import { Fault } from '../../kernel/fault.ts'

export interface UploadLimits {
  /** Of one file. */
  fileBytes: number
  /** Of all files of an organisation, those on their way included. */
  orgBytes: number
  /** How long an interrupted upload may be gone on with, and a failed one be read of. */
  keptMs: number
}

/** What a form has beside the file at most. */
export const formBytesMaximum = 64 * 1024
/** Uploads of one organisation that have begun and are not whole. */
export const comingMaximum = 64
/** Received at once by this process: each may keep the texts of a head. */
export const receivingMaximum = 32

/** Bytes to set aside. `announced`: what the client says it sends; null = it does not say. Throws Fault 413 or 409. */
export function setAside(announced: number | null, used: number, limits: UploadLimits): number {
  const left = Math.max(0, limits.orgBytes - used)
  if (announced !== null && announced > limits.fileBytes) throw tooLarge(limits)
  const wanted = announced ?? Math.min(limits.fileBytes, left)
  if (wanted > left || left === 0) throw overQuota(used, limits)
  return wanted
}

export function tooLarge({ fileBytes }: UploadLimits): Fault {
  return new Fault('body_too_large', `A model may have ${fileBytes} bytes; this one is larger.`, {
    action: 'Upload a smaller file, for example one that is quantised further.',
    detail: { limit_bytes: fileBytes },
  })
}

function overQuota(used: number, { orgBytes }: UploadLimits): Fault {
  return new Fault(
    'quota_exceeded',
    `The organisation may keep ${orgBytes} bytes of uploaded models; ${used} are taken, and this one does not fit.`,
    {
      action: 'Delete a model that nobody uses, or ask the operator to raise quota.upload_bytes.',
      detail: { quota_bytes: orgBytes, used_bytes: used },
    },
  )
}
