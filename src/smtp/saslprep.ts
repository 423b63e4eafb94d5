// A file of its own: the package is loaded only for user names and passwords that are not ASCII.
export { saslprep } from '@mongodb-js/saslprep'
