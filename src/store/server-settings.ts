import { socketPort } from './socket-folder.ts'

/** Connections that a Paddock with one gateway worker may hold in all its processes; the pools' sizes add up to less. */
const maxConnections = 60

export interface ServerSettingsInput {
  socketFolder: string
  /** Shown in the titles of its processes. */
  clusterName: string
  durable: boolean
  /** On top of the usual ones. */
  moreConnections: number
}

/**
 * Settings of the embedded server, given on its command line so that a new release can change them for old data.
 * Small on purpose: it shares a machine with engines. fsync and full page writes stay on.
 */
export function serverSettings({ socketFolder, clusterName, durable, moreConnections }: ServerSettingsInput): string[] {
  const settings: Record<string, string> = {
    cluster_name: clusterName,
    listen_addresses: '',
    // A list; quotes keep commas and spaces in one name.
    unix_socket_directories: `"${socketFolder.replaceAll('"', '""')}"`,
    unix_socket_permissions: '0700',
    port: String(socketPort),
    max_connections: String(maxConnections + moreConnections),
    shared_buffers: durable ? '64MB' : '16MB',
    huge_pages: 'off',
    // Large allocations beside shared_buffers live in files of the data folder: containers often have a tiny /dev/shm.
    dynamic_shared_memory_type: 'mmap',
    io_method: 'sync',
    jit: 'off',
    max_parallel_workers_per_gather: '0',
    max_logical_replication_workers: '0',
    autovacuum_max_workers: '2',
    // A statement whose client was killed ends, and its locks with it, instead of running on for nobody.
    client_connection_check_interval: process.platform === 'linux' ? '1s' : '0',
    // Nothing replicates from here, so the log carries only what recovery needs.
    wal_level: 'minimal',
    max_wal_senders: '0',
    min_wal_size: '32MB',
    max_wal_size: '256MB',
    logging_collector: 'off',
    log_destination: 'stderr',
    log_line_prefix: '%m [%p] ',
    log_timezone: 'UTC',
    timezone: 'UTC',
    // Commits still reach the system's cache, so that what was acknowledged survives a SIGKILL in tests too.
    ...(durable ? {} : { fsync: 'off', full_page_writes: 'off' }),
  }
  return Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
}
