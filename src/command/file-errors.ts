import { constants } from 'node:fs'
import { codeOf, messageOf } from '../errors.js'

/** Opens a file for reading, and waits for no writer of a FIFO. A terminal does not become that of this process. */
export const OPEN_FLAGS = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY

const FILE_ERRORS: Readonly<Record<string, string>> = {
  ENOENT: 'no such file',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EISDIR: 'is a directory',
  ENOTDIR: 'part of the path is not a directory',
  ELOOP: 'the symbolic links form a loop',
  ENAMETOOLONG: 'the file name is too long',
  ENXIO: 'is a socket, or a device that does not exist',
  ENOSPC: 'no space left on the device',
  EDQUOT: 'the disk quota is exceeded',
  EROFS: 'the file system is read-only',
  EIO: 'input/output error',
  ERR_INVALID_ARG_VALUE: 'a file name must not contain NUL',
}

/** Returns a system error about a file in plain words. */
export function describeFileError(error: unknown): string {
  return FILE_ERRORS[codeOf(error)] ?? messageOf(error)
}
