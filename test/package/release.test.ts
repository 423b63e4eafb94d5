import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { distTag, type Release, releaseFaults } from './release.js'

suite('a release', () => {
  const release: Release = {
    tag: 'v1.2.0-rc.1',
    repository: 'owner/etrn',
    manifest: { version: '1.2.0-rc.1', repository: { url: 'git+https://github.com/owner/etrn.git' } },
    changelog: '# Changelog\n\n## Unreleased\n\n## 1.2.0-rc.1 - 2026-01-02\n\n## 1.1.0 - 2025-12-31\n',
  }
  test('has the tag of its version, a section in CHANGELOG.md, and its repository in package.json', () =>
    assert.deepEqual(releaseFaults(release), []))
  test('is refused for the tag of another version', () =>
    assert.deepEqual(releaseFaults({ ...release, tag: 'v1.2.0' }), [
      'tag v1.2.0 does not match version 1.2.0-rc.1 in package.json',
    ]))
  for (const heading of ['1.2.0-rc.1', '1.2.0 - 2026-01-02', 'Unreleased']) {
    test(`is refused if CHANGELOG.md has only the section "${heading}"`, () =>
      assert.deepEqual(releaseFaults({ ...release, changelog: `# Changelog\n\n## ${heading}\n` }), [
        'CHANGELOG.md has no section "## 1.2.0-rc.1 - YYYY-MM-DD"',
      ]))
  }
  const fault =
    'package.json must have "repository": { "type": "git", "url": "git+https://github.com/owner/etrn.git" }, for npm\'s provenance'
  test('is refused if package.json has no repository', () =>
    assert.deepEqual(releaseFaults({ ...release, manifest: { version: '1.2.0-rc.1' } }), [fault]))
  test('is refused if package.json has another repository', () => {
    const manifest = { ...release.manifest, repository: { url: 'git+https://github.com/other/etrn.git' } }
    assert.deepEqual(releaseFaults({ ...release, manifest }), [fault])
  })
  test('gets the dist-tag next if its version is a prerelease, and else latest', () => {
    assert.equal(distTag('1.2.0-rc.1'), 'next')
    assert.equal(distTag('1.2.0'), 'latest')
  })
})
