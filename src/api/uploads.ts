/** Routes of models that organisations upload. The resumable form of it is in tus.ts. */

import { uploadPrefix } from '../models/uploads/names.ts'
import { obstacleOf } from '../models/uploads/source.ts'
import type { UploadView } from '../models/uploads/view.ts'
import type { Model } from '../wire/native/catalogue.ts'
import { type UploadedModel, uploadedModel, uploadForm } from '../wire/native/uploads.ts'
import { endpoint } from './endpoint.ts'

const tag = 'Models'

export const uploadEndpoints = [
  endpoint({
    id: 'uploadModel',
    method: 'post',
    path: '/models/upload',
    tag,
    summary: 'Upload a GGUF file as a model of your own',
    description:
      'Streamed to storage while its header is checked: what is no usable GGUF file is refused within its first megabytes. ' +
      'Poll `GET /models/byom/{id}` until it is `ready`. Large files over bad lines: the resumable form (tus 1.0.0) at `/models/uploads`.',
    creates: true,
    form: uploadForm,
    answer: uploadedModel,
    faults: [
      'unsupported_media_type',
      'invalid_request',
      'name_taken',
      'quota_exceeded',
      'body_too_large',
      'engine_unsupported',
      'model_file_unreadable',
      'model_not_supported',
      'concurrency_limited',
      'client_closed',
    ],
    run: async ({ principal, once, parts, incoming }) => {
      const { headers, body } = incoming()
      return renderUpload(await parts.uploads.receive(principal, headers, body, once))
    },
  }),
  endpoint({
    id: 'getUploadedModel',
    method: 'get',
    path: '/models/byom/{id}',
    tag,
    summary: 'Show an uploaded model: uploading → validating → ready, or failed with the reason',
    answer: uploadedModel,
    run: async ({ principal, param, parts }) => renderUpload(await parts.uploads.get(principal, param('id'))),
  }),
  endpoint({
    id: 'deleteUploadedModel',
    method: 'delete',
    path: '/models/byom/{id}',
    tag,
    summary: 'Delete an uploaded model, or give up its upload',
    description: 'Refused while a deployment needs it.',
    answer: uploadedModel,
    faults: ['conflict'],
    run: async ({ principal, param, parts }) => renderUpload(await parts.uploads.delete(principal, param('id'))),
  }),
]

export function renderUpload(view: UploadView): UploadedModel {
  const { facts } = view
  return {
    id: view.id,
    name: view.name,
    model_id: view.name === null ? null : uploadPrefix + view.name,
    status: view.status,
    reason: view.reason,
    kind: facts?.kind ?? null,
    architecture: facts?.architecture ?? null,
    quantization: facts?.quantization ?? null,
    context_size: facts?.kind === 'model' ? facts.contextSize : null,
    size_bytes: view.sizeBytes,
    received_bytes: view.receivedBytes,
    sha256: view.sha256,
    deployment_id: view.deploymentId,
    roll: view.roll,
    created_at: view.createdAt.toISOString(),
    updated_at: view.changedAt.toISOString(),
  }
}

/** Beside the models of the catalogue; adapters are none. */
export function renderOwn(upload: UploadView, simulated: boolean): Model[] {
  const { name, facts, status } = upload
  if (name === null || facts?.kind === 'adapter') return []
  const obstacle = obstacleOf({ status, facts })
  return [
    {
      id: uploadPrefix + name,
      title: name,
      about: 'Uploaded by your organisation.',
      source_repo: null,
      revision: null,
      quantization: facts?.quantization ?? 'unknown',
      capabilities: ['chat', 'completion'],
      architecture: facts?.architecture ?? null,
      weight_gb: status === 'uploading' ? null : Number((upload.sizeBytes / 1e9).toPrecision(3)),
      context_size: facts?.contextSize ?? 0,
      tensor_type: facts?.quantization ?? 'unknown',
      tool_calls: null,
      thoughts: null,
      gated: false,
      deployable: obstacle === null,
      reason: obstacle === null ? null : `${obstacle}.`,
      emulated: simulated,
      simulated,
      served_by: null,
      added_by: 'upload',
    },
  ]
}
