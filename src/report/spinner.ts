// A file of its own: the package is loaded only on a terminal.
export { default as ora } from 'ora'
