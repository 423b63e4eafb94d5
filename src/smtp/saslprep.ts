/** The preparation of names and passwords that are not ASCII; a file of its own, since few are. */
export { saslprep } from '@mongodb-js/saslprep'
