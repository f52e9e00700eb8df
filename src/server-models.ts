/** The operator's own file of models (`models.catalogue`), checked like what is sent to `POST /models`. */
import { type ModelEntry, modelOf } from './models/entry.ts'
import { readDocument } from './runtime/config.ts'
import { modelEntries } from './wire/native/catalogue.ts'
import { check } from './wire/native/check.ts'

/** `path` '' = there is none. Throws with a sentence for the operator that names what is wrong. */
export function readOwnModels(path: string): ModelEntry[] {
  if (path === '') return []
  const entries = checked(path)
  const twice = entries.find(({ id }, at) => entries.findIndex((other) => other.id === id) < at)
  if (twice !== undefined) throw new Error(`models.catalogue: ${path} has ${twice.id} twice.`)
  for (const entry of entries) {
    try {
      modelOf(entry, 'file')
    } catch (error) {
      throw new Error(`models.catalogue: ${path}: ${(error as Error).message}`)
    }
  }
  return entries
}

function checked(path: string): ModelEntry[] {
  const { value, problems } = check(modelEntries, contentOf(path), 'body')
  if (value !== null) return value
  const shown = problems.slice(0, problemsShownMaximum).map(({ problem }) => problem)
  throw new Error(`models.catalogue: ${path} is no list of models. ${shown.join(' ')}`)
}

const problemsShownMaximum = 10

function contentOf(path: string): unknown {
  try {
    return readDocument(path)
  } catch (error) {
    throw new Error(`models.catalogue: ${path} cannot be read: ${(error as Error).message.split('\n')[0]}`)
  }
}
