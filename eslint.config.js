import regexp from 'eslint-plugin-regexp'
import tseslint from 'typescript-eslint'

// Each of these packages may be imported by one file only.
const PACKAGE_USERS = {
  yargs: 'command/full-help',
  'yargs-parser': 'command/words',
  '@discoveryjs/json-ext': 'report/json',
  chalk: 'report/colours',
  ora: 'report/spinner',
  tldts: 'input/public-suffix',
  'p-limit': 'etrn/session-slots',
  'toml-eslint-parser': 'command/toml',
  'fastest-levenshtein': 'command/suggest',
  '@mongodb-js/saslprep': 'smtp/saslprep',
  'dns-packet': 'net/dns-message',
}

// The folders of src, lowest first. A file may import from its own folder and from lower ones, types included.
const FOLDERS = [['net'], ['input'], ['smtp'], ['etrn'], ['report', 'command'], ['check']]

/** Returns the rules that forbid imports from folders that aren't lower. */
const importRulesOf = (folders, level) =>
  folders.map((folder) => {
    const forbidden = FOLDERS.slice(level)
      .flat()
      .filter((other) => other !== folder)
    const pattern = `^(?:\\.\\./(?:${[...forbidden, 'cli', 'index'].join('|')})\\b|\\.\\./\\.\\./)`
    return {
      files: [`src/${folder}/**`],
      rules: {
        'no-restricted-syntax': [
          'error',
          ...['ImportDeclaration', 'ExportNamedDeclaration', 'ExportAllDeclaration', 'ImportExpression'].map(
            (node) => ({
              selector: `${node}[source.value=/${pattern.replaceAll('/', '\\/')}/]`,
              message: `src/${folder} may import from lower folders only`,
            }),
          ),
        ],
      },
    }
  })

/** Returns the packages that this file must not import. */
const forbiddenPackagesOf = (file) => ({
  paths: [
    ...Object.entries(PACKAGE_USERS)
      .filter(([, user]) => user !== file)
      .map(([name, user]) => ({ name, message: `only src/${user}.ts may import it`, allowTypeImports: true })),
    {
      name: 'node:fs',
      importNames: ['rm', 'rmSync'],
      message: 'another user could put a folder in the place of the file: use unlinkSync',
    },
  ],
})

export default tseslint.config(
  { ignores: ['dist/', 'build/', 'coverage/', '**/*.cjs'] },
  ...tseslint.configs.strictTypeChecked,
  {
    languageOptions: { parserOptions: { projectService: { allowDefaultProject: ['eslint.config.js'] } } },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    plugins: { regexp },
    rules: {
      'no-control-regex': 'error',
      '@typescript-eslint/no-unused-vars': ['error', { ignoreRestSiblings: true }],
      '@typescript-eslint/explicit-module-boundary-types': 'error',
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      '@typescript-eslint/no-confusing-void-expression': [
        'error',
        { ignoreArrowShorthand: true, ignoreVoidReturningFunctions: true },
      ],
      '@typescript-eslint/consistent-type-definitions': 'off',
      '@typescript-eslint/no-unnecessary-condition': ['error', { allowConstantLoopConditions: true }],
    },
  },
  {
    files: ['src/**/*.ts'],
    rules: {
      // A hostile server must not make a pattern slow.
      'regexp/no-super-linear-backtracking': ['error', { report: 'potential' }],
      'regexp/no-super-linear-move': ['error', { report: 'potential' }],
      'max-lines': ['error', 300],
      'max-lines-per-function': ['error', 40],
      'no-restricted-globals': ['error', 'process'],
      '@typescript-eslint/no-restricted-imports': ['error', forbiddenPackagesOf('')],
    },
  },
  { files: ['src/cli.ts'], rules: { 'no-restricted-globals': 'off' } },
  ...FOLDERS.flatMap(importRulesOf),
  {
    files: ['src/errors.ts', 'src/printable.ts'],
    rules: {
      'no-restricted-syntax': [
        'error',
        {
          selector: 'ImportDeclaration[source.value=/^\\.\\/.*\\//]',
          message: 'these two files are below all folders',
        },
      ],
    },
  },
  ...Object.values(PACKAGE_USERS).map((file) => ({
    files: [`src/${file}.ts`],
    rules: { '@typescript-eslint/no-restricted-imports': ['error', forbiddenPackagesOf(file)] },
  })),
  // The runner itself awaits the promises of node:test's functions.
  {
    files: ['test/**'],
    rules: {
      '@typescript-eslint/no-floating-promises': [
        'error',
        {
          allowForKnownSafeCalls: [
            { from: 'package', name: ['test', 'suite', 'it', 'describe'], package: 'node:test' },
          ],
        },
      ],
    },
  },
  { files: ['**/*.js'], extends: [tseslint.configs.disableTypeChecked] },
)
