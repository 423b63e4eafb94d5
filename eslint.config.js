import tseslint from 'typescript-eslint'

// Packages that one file only may use, and that file.
const OWNERS = {
  yargs: 'command/help',
  'yargs-parser': 'command/arguments',
  chalk: 'report/reporter',
  ora: 'report/spinner',
  tldts: 'input/public-suffix',
  'p-limit': 'etrn/run',
  'toml-eslint-parser': 'command/toml',
  'fastest-levenshtein': 'command/suggest',
  '@mongodb-js/saslprep': 'smtp/saslprep',
}

// The folders of src, from the bottom up. A file imports from its own folder and from those below it, types included.
const FOLDERS = [['net'], ['input'], ['smtp'], ['etrn'], ['report', 'command'], ['check']]

/** Forbids what stands in no folder below. */
const importsDown = (folders, level) =>
  folders.map((folder) => {
    const above = FOLDERS.slice(level)
      .flat()
      .filter((other) => other !== folder)
    const pattern = `^(?:\\.\\./(?:${[...above, 'cli', 'index'].join('|')})\\b|\\.\\./\\.\\./)`
    return {
      files: [`src/${folder}/**`],
      rules: {
        'no-restricted-syntax': [
          'error',
          ...['ImportDeclaration', 'ExportNamedDeclaration', 'ExportAllDeclaration', 'ImportExpression'].map(
            (node) => ({
              selector: `${node}[source.value=/${pattern.replaceAll('/', '\\/')}/]`,
              message: `${folder} imports from the folders below it only`,
            }),
          ),
        ],
      },
    }
  })

/** Keeps each package to its owner. */
const packagesOf = (room) => ({
  paths: Object.entries(OWNERS)
    .filter(([, owner]) => owner !== room)
    .map(([name, owner]) => ({ name, message: `only ${owner} uses it`, allowTypeImports: true })),
})

export default tseslint.config(
  { ignores: ['dist/', 'coverage/'] },
  ...tseslint.configs.strictTypeChecked,
  {
    languageOptions: { parserOptions: { projectService: { allowDefaultProject: ['eslint.config.js'] } } },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
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
      'no-restricted-globals': ['error', 'process'],
      '@typescript-eslint/no-restricted-imports': ['error', packagesOf('')],
    },
  },
  { files: ['src/cli.ts'], rules: { 'no-restricted-globals': 'off' } },
  ...FOLDERS.flatMap(importsDown),
  {
    files: ['src/errors.ts', 'src/printable.ts'],
    rules: {
      'no-restricted-syntax': [
        'error',
        { selector: 'ImportDeclaration[source.value=/^\\.\\/.*\\//]', message: 'these two stand below all folders' },
      ],
    },
  },
  ...Object.values(OWNERS).map((room) => ({
    files: [`src/${room}.ts`],
    rules: { '@typescript-eslint/no-restricted-imports': ['error', packagesOf(room)] },
  })),
  // node:test's test() gives a promise that the runner itself awaits.
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
