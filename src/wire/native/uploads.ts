/** Models that an organisation uploads: the form, the resumable upload's headers, and what is told of one. */
import { z } from 'zod'
import { instant, orNull } from './fields.ts'

/** For the reference; the form itself is read as it comes (models/uploads/form.ts). */
export const uploadForm = z
  .object({
    file: z.string().meta({ format: 'binary', description: 'The GGUF file. The parts may come in any order.' }),
    name: z.string().meta({
      description: 'Afterwards it is deployed and called as `byom:<name>`. Lower-case letters, digits, `.`, `-`, `_`.',
      example: 'my-model-v2',
    }),
    deployment_id: z
      .string()
      .optional()
      .meta({ description: 'Id or name of a deployment on llama.cpp that rolls to the model when it is ready.' }),
  })
  .meta({ id: 'ModelUpload' })

export const uploadedModel = z
  .object({
    id: z.string().meta({ example: 'mdl_mh9q2k3f4c8s1d9x0aabc' }),
    name: orNull(z.string()).meta({ description: 'null until the form has named it.', example: 'my-model-v2' }),
    model_id: orNull(z.string()).meta({ description: 'What to deploy and call.', example: 'byom:my-model-v2' }),
    status: z.enum(['uploading', 'validating', 'ready', 'failed', 'deleting']),
    reason: orNull(z.object({ code: z.string(), message: z.string() })).meta({ description: 'Why it failed.' }),
    kind: orNull(z.enum(['model', 'adapter'])),
    architecture: orNull(z.string()),
    quantization: orNull(z.string()),
    context_size: orNull(z.int()).meta({ description: 'Tokens.' }),
    size_bytes: z.int().meta({ description: 'While it is uploading: the most that may come.' }),
    received_bytes: z.int(),
    sha256: orNull(z.string()),
    deployment_id: orNull(z.string()),
    roll: orNull(z.object({ state: z.enum(['waiting', 'done', 'refused']), why: orNull(z.string()) })).meta({
      description: 'How it went with `deployment_id`.',
    }),
    created_at: instant,
    updated_at: instant,
  })
  .meta({ id: 'UploadedModel' })
export type UploadedModel = z.output<typeof uploadedModel>

const bytes = z.string().regex(/^\d{1,16}$/)
const offset = bytes.meta({ description: 'How many bytes of the file are here.', example: '16777216' })
const expires = z.string().optional().meta({ description: 'When it is given up unless more comes.' })

/** Headers of the resumable upload, by what they are asked or told with. Values are texts, as in HTTP. */
export const resumable = {
  version: z.literal('1.0.0').meta({ description: 'Version of tus; anything else is answered with 412.' }),
  creation: z.object({
    'upload-length': bytes.meta({ description: 'Of the whole file.', example: '4370000000' }),
    'upload-metadata': z.string().meta({
      description: 'Keys with values in base64: `name` and, if wanted, `deployment_id`. Others are left alone.',
      example: 'name bXktbW9kZWwtdjI=',
    }),
  }),
  piece: z.object({
    'upload-offset': offset,
    'content-type': z.literal('application/offset+octet-stream'),
    'upload-checksum': z.string().optional().meta({
      description: 'Algorithm (sha1, sha256, md5) and sum in base64 of this piece; a wrong one is answered with 460.',
    }),
  }),
  override: z.object({ 'x-http-method-override': z.enum(['PATCH', 'DELETE', 'HEAD']) }),
  nothing: z.object({}),
  created: z.object({ location: z.string(), 'upload-offset': offset, 'upload-expires': expires }),
  state: z.object({ 'upload-offset': offset, 'upload-length': bytes, 'upload-expires': expires }),
  appended: z.object({ 'upload-offset': offset, 'upload-expires': expires }),
  server: z.object({
    'tus-version': z.string(),
    'tus-extension': z.string(),
    'tus-max-size': bytes,
    'tus-checksum-algorithm': z.string(),
  }),
}
