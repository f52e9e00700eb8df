/**
 * A bucket for tests: as much of S3 as we use, on a port of its own. Refuses requests that are not signed (SigV4) with its
 * key, parts below 5 MiB that are not the last, and what it does not know.
 */
import { createHash, createHmac } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

const leastPartBytes = 5 * 1024 * 1024
export const bucketKey = { accessKeyId: 'AKTEST', secretAccessKey: 'a secret of the test' }

interface Pending {
  key: string
  parts: Map<number, Buffer>
}

export class TestBucket {
  readonly objects = new Map<string, Buffer>()
  readonly pending = new Map<string, Pending>()
  /** What was asked for that is no S3 of ours, or not signed. */
  readonly refused: string[] = []
  /** From where objects were read. */
  readonly reads: number[] = []
  /** What becomes of a read: waited for, or cut off after so many bytes. */
  onRead: (from: number) => Promise<number | undefined> = async () => undefined
  /** Answers nobody: connections are cut. */
  isAway = false
  readonly #server: Server
  #count = 0

  constructor() {
    this.#server = createServer((request, response) => void this.#serve(request, response))
  }

  async listen(): Promise<string> {
    await new Promise<void>((ready) => this.#server.listen(0, '127.0.0.1', ready))
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  close(): void {
    this.#server.closeAllConnections()
    this.#server.close()
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<unknown> {
    if (this.isAway) return request.socket.destroy()
    const pieces: Buffer[] = []
    for await (const piece of request) pieces.push(piece as Buffer)
    const body = Buffer.concat(pieces)
    const url = new URL(request.url ?? '/', 'http://bucket')
    const answer = (status: number, text = '', headers: Record<string, string> = {}) =>
      response.writeHead(status, { 'content-type': 'application/xml', ...headers }).end(text)
    if (!isSigned(request, url)) {
      this.refused.push(`unsigned ${request.method} ${request.url}`)
      return answer(403, '<Error><Code>SignatureDoesNotMatch</Code></Error>')
    }
    const [, , ...rest] = url.pathname.split('/')
    return this.#answer(request, url, rest.join('/'), body, answer, response)
  }

  #answer(
    request: IncomingMessage,
    url: URL,
    key: string,
    body: Buffer,
    answer: (status: number, text?: string, headers?: Record<string, string>) => unknown,
    response: ServerResponse,
  ): unknown {
    const { method } = request
    const query = url.searchParams
    const upload = query.get('uploadId')
    const prefix = query.get('prefix') ?? ''
    if (method === 'POST' && query.has('uploads')) {
      const id = `up-${(this.#count += 1)}`
      this.pending.set(id, { key, parts: new Map() })
      return answer(200, `<R><UploadId>${id}</UploadId></R>`.replaceAll('R>', 'InitiateMultipartUploadResult>'))
    }
    if (method === 'GET' && query.has('uploads')) {
      const list = [...this.pending].filter(([, one]) => one.key.startsWith(prefix))
      const items = list.map(([id, one]) => `<Upload><Key>${one.key}</Key><UploadId>${id}</UploadId></Upload>`)
      return answer(200, `<ListMultipartUploadsResult>${items.join('')}</ListMultipartUploadsResult>`)
    }
    if (method === 'GET' && query.has('list-type')) {
      const keys = [...this.objects.keys()].filter((one) => one.startsWith(prefix))
      const items = keys.map((one) => `<Contents><Key>${one}</Key></Contents>`)
      return answer(200, `<ListBucketResult>${items.join('')}</ListBucketResult>`)
    }
    if (upload !== null) return this.#part(method ?? '', upload, query, body, answer)
    const object = this.objects.get(key)
    if (method === 'DELETE') {
      this.objects.delete(key)
      return answer(204)
    }
    if (object === undefined) return answer(404, '<Error><Code>NoSuchKey</Code></Error>')
    if (method === 'HEAD') return response.writeHead(200, { 'content-length': object.length }).end()
    const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '')
    if (method === 'GET' && range) return this.#read(object, Number(range[1]), Number(range[2]) + 1, response)
    this.refused.push(`${method} ${request.url}`)
    return answer(501, '<Error><Code>NotImplemented</Code></Error>')
  }

  async #read(object: Buffer, from: number, to: number, response: ServerResponse): Promise<unknown> {
    this.reads.push(from)
    const cutAfter = await this.onRead(from)
    const bytes = object.subarray(from, to)
    response.writeHead(206, { 'content-length': bytes.length })
    if (typeof cutAfter !== 'number') return response.end(bytes)
    return response.write(bytes.subarray(0, cutAfter), () => response.destroy())
  }

  #part(
    method: string,
    id: string,
    query: URLSearchParams,
    body: Buffer,
    answer: (status: number, text?: string, headers?: Record<string, string>) => unknown,
  ): unknown {
    const pending = this.pending.get(id)
    if (pending === undefined) return answer(404, '<Error><Code>NoSuchUpload</Code></Error>')
    const etag = (bytes: Buffer) => `"${createHash('md5').update(bytes).digest('hex')}"`
    if (method === 'PUT') {
      pending.parts.set(Number(query.get('partNumber')), body)
      return answer(200, '', { etag: etag(body) })
    }
    const parts = [...pending.parts].sort(([a], [b]) => a - b)
    if (method === 'GET') {
      const items = parts.map(
        ([n, bytes]) =>
          `<Part><PartNumber>${n}</PartNumber><ETag>${etag(bytes)}</ETag><Size>${bytes.length}</Size></Part>`,
      )
      return answer(200, `<ListPartsResult>${items.join('')}</ListPartsResult>`)
    }
    this.pending.delete(id)
    if (method === 'DELETE') return answer(204)
    if (parts.slice(0, -1).some(([, bytes]) => bytes.length < leastPartBytes))
      return answer(400, '<Error><Code>EntityTooSmall</Code></Error>')
    this.objects.set(pending.key, Buffer.concat(parts.map(([, bytes]) => bytes)))
    return answer(200, '<CompleteMultipartUploadResult><ETag>"x"</ETag></CompleteMultipartUploadResult>')
  }
}

/** AWS Signature Version 4, made again from what was sent. */
function isSigned({ method, headers }: IncomingMessage, url: URL): boolean {
  const said =
    /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/s3\/aws4_request, ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})$/.exec(
      headers.authorization ?? '',
    )
  if (said === null || said[1] !== bucketKey.accessKeyId) return false
  const [, , day = '', region = '', names = '', signature = ''] = said
  const encode = (text: string) =>
    encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)
  const query = [...url.searchParams]
    .map(([k, v]) => `${encode(k)}=${encode(v)}`)
    .sort()
    .join('&')
  const signed = names.split(';').map(
    (name) =>
      `${name}:${String(headers[name] ?? '')
        .trim()
        .replace(/ +/g, ' ')}\n`,
  )
  const payload = String(headers['x-amz-content-sha256'])
  const canonical = [method, url.pathname, query, signed.join(''), names, payload].join('\n')
  const hash = createHash('sha256').update(canonical).digest('hex')
  const text = ['AWS4-HMAC-SHA256', headers['x-amz-date'], `${day}/${region}/s3/aws4_request`, hash].join('\n')
  const mac = (key: string | Buffer, data: string) => createHmac('sha256', key).update(data).digest()
  const key = [day, region, 's3', 'aws4_request'].reduce<string | Buffer>(mac, `AWS4${bucketKey.secretAccessKey}`)
  return createHmac('sha256', key).update(text).digest('hex') === signature
}
