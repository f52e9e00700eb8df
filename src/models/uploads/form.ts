/**
 * The form of an upload, read as it comes: its parts in whatever order, the file as a stream that waits for whoever reads
 * it. Nothing is destroyed when it is refused halfway: the answer must still reach whoever sends.
 */
import type { IncomingHttpHeaders } from 'node:http'
import type { Readable } from 'node:stream'
import { Busboy, type BusboyFileStream, type BusboyHeaders, type BusboyInstance } from '@fastify/busboy'
import { Fault, toFault } from '../../kernel/fault.ts'

const fieldBytesMaximum = 1024
const partsMaximum = 16
const partHeaderBytesMaximum = 16 * 1024

export interface FormReader {
  /** Both may throw; nothing more is read then. */
  field(name: string, value: string): Promise<void>
  file(content: AsyncIterable<Buffer>): Promise<void>
}

/** Resolves at the form's end. Throws what the reader throws, and Faults: the form is broken, its client is gone. */
export function readForm(body: Readable, form: BusboyInstance, reader: FormReader): Promise<void> {
  return new Promise((resolve, reject) => {
    let work: Promise<void> = Promise.resolve()
    let file: Readable | null = null
    let over = false
    const stop = (thrown: unknown): void => {
      if (over) return
      over = true
      body.unpipe(form)
      body.pause()
      body.off('close', gone).off('error', gone)
      file?.destroy(toFault(thrown))
      // What reads the file has to let go of it before anybody is told.
      work.then(
        () => reject(thrown),
        () => reject(thrown),
      )
    }
    const gone = () => {
      // Of a body that came whole the form itself says whether it is.
      if (!body.readableEnded) stop(new Fault('client_closed', 'The upload ended before it was complete.'))
    }
    const then = (next: () => Promise<void>) => {
      work = work.then(next)
      work.catch(stop)
    }
    form.on('field', (name: string, value: string, _nameCut: boolean, valueCut: boolean) => {
      if (valueCut) return stop(tooLong(name))
      then(() => reader.field(name, value))
    })
    form.on('file', (name: string, content: BusboyFileStream) => {
      content.on('error', (error: Error) => stop(broken(error)))
      if (name !== 'file') return stop(unknownPart(name))
      file = content
      // Who stops reading halfway must not end it: nothing more is taken from the body then.
      then(() => reader.file(content.iterator({ destroyOnReturn: false })))
    })
    form.on('filesLimit', () => stop(new Fault('invalid_request', 'file: there is more than one file in the form.')))
    form.on('partsLimit', () => stop(new Fault('invalid_request', `The form has more than ${partsMaximum} parts.`)))
    form.on('error', (error: unknown) => stop(broken(error)))
    form.on('finish', () => {
      body.off('close', gone).off('error', gone)
      work.then(() => (over ? undefined : resolve()), stop)
    })
    body.once('close', gone).once('error', gone)
    body.pipe(form)
  })
}

/** Throws Faults: it is no form. */
export function openForm(headers: IncomingHttpHeaders): BusboyInstance {
  const type = headers['content-type'] ?? ''
  if (!/^multipart\/form-data\s*;/i.test(type))
    throw new Fault('unsupported_media_type', 'An upload is a form with the parts file and name.', {
      action: 'Send multipart/form-data, as curl -F does, or use the resumable form.',
    })
  try {
    return new Busboy({
      headers: headers as BusboyHeaders,
      limits: {
        fieldSize: fieldBytesMaximum,
        files: 1,
        parts: partsMaximum,
        headerPairs: partsMaximum,
        headerSize: partHeaderBytesMaximum,
      },
    })
  } catch (error) {
    throw new Fault('invalid_request', 'Content-Type: the boundary of the form is missing.', { cause: error })
  }
}

function broken(cause: unknown): Fault {
  return new Fault('invalid_request', 'The form is broken: it ends early, or is not as its boundary says.', { cause })
}

function unknownPart(name: string | undefined): Fault {
  const shown = JSON.stringify(String(name).slice(0, 80))
  return new Fault('unknown_field', `${shown} is not a file of this form; the file's part is named "file".`)
}

function tooLong(name: string): Fault {
  return new Fault('invalid_request', `${String(name).slice(0, 80)}: is longer than ${fieldBytesMaximum} bytes.`)
}
