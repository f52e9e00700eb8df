/**
 * Where the bytes of uploaded models are. Everything is found again by the upload's id alone, so a process that dies
 * leaves nothing that the next one cannot continue or remove.
 */
export interface ModelStorage {
  kind: 'disk' | 's3'
  /** Bytes that may still be written; absent = as many as anybody likes. */
  room?(): Promise<number>
  /** Bytes of an unfinished upload that survived; 0 when there is nothing. */
  kept(id: string): Promise<number>
  /** Goes on at the end of what is kept. One writer per upload at a time. */
  append(id: string): Promise<StorageWriter>
  /** What is kept becomes the whole file; again changes nothing. */
  finish(id: string): Promise<void>
  /** A finished file from this byte on; default its first. */
  read(id: string, from?: number): AsyncIterable<Buffer>
  /** Removes all of it, finished or not; nothing there is fine. */
  remove(id: string): Promise<void>
  /** Ids of which there is anything, finished or not. */
  list(): Promise<string[]>
  /** A finished file's place on this machine's disk; null = it has to be brought here. */
  path(id: string): string | null
}

export interface StorageWriter {
  /** Resolves when more may come. */
  write(piece: Buffer): Promise<void>
  /** Everything written survives from here on. Returns how much is kept in all. */
  close(): Promise<number>
}

/** Ids become paths and keys: nothing else than an id gets that far. */
export function checkedId(id: string): string {
  if (!/^mdl_[a-z0-9]{1,64}$/.test(id)) throw new Error(`"${id}" is no id of an upload`)
  return id
}
