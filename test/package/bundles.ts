import { type OutputChunk, rolldown } from 'rolldown'
import { ROOT } from '../helpers/files.js'
import configs from './rolldown.config.js'

/** A file of dist: the modules in it, as paths below the root, and the files that it loads, at once or later */
export type BundleFile = Pick<OutputChunk, 'fileName' | 'isEntry' | 'imports' | 'dynamicImports'> & {
  readonly modules: readonly string[]
}

/** Returns the files of the library and of the command, built anew in memory. */
export async function bundleFiles(): Promise<BundleFile[]> {
  const outputs = await Promise.all(
    configs.map(async ({ output, ...input }) => {
      const bundle = await rolldown({ ...input, cwd: ROOT.pathname })
      return (await bundle.generate(output)).output
    }),
  )
  return outputs.flat().flatMap((file) => (file.type === 'chunk' ? describeFile(file) : []))
}

function describeFile({ fileName, isEntry, imports, dynamicImports, moduleIds }: OutputChunk): BundleFile {
  const modules = moduleIds.map((id) => id.replace(ROOT.pathname, ''))
  return { fileName, isEntry, imports, dynamicImports, modules }
}

/** Returns the name of the package that a module belongs to; undefined for our own. */
export function packageOf(module: string): string | undefined {
  return /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(module)?.[1]
}
