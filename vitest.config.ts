import { defineConfig } from 'vitest/config';

/**
 * The suites. `unit` runs from the sources and needs no build; the others drive dist/ or the host's kernel, see
 * scripts/test.mjs, which runs them one after the other.
 */
export default defineConfig({
  test: {
    reporters: [
      'default',
      ['json', { outputFile: `.reports/${process.env.NETPROXY_REPORT ?? 'vitest'}.json` }],
    ],
    // AF_VSOCK is real only inside a QEMU guest: nothing that a test starts here may open one.
    env: { NETPROXY_NO_VSOCK: '1' },
    coverage: {
      include: ['src/**/*.ts'],
      exclude: ['src/**/*.test.ts', 'src/**/*.testutil.ts'],
      thresholds: { 'src/tcp/**/*.ts': { branches: 95 } },
    },
    projects: [
      suite('unit', 'src/**/*.test.ts', { workers: 2, seconds: 20, order: 0 }),
      suite('project', 'test/project/**/*.test.ts', { workers: 2, seconds: 180, order: 1 }),
      suite('interop', 'test/interop/**/*.test.ts', { workers: 2, seconds: 60, order: 2 }),
      // Kernels and clocks of guests: one file at a time, so that the files do not starve each other.
      suite('netns', 'test/netns/**/*.test.ts', { workers: 1, seconds: 120, order: 3 }),
      suite('vm', 'test/vm/**/*.test.ts', { workers: 1, seconds: 240, order: 4 }),
      suite('soak', 'test/soak/**/*.test.ts', { workers: 1, seconds: 1800, order: 5 }),
    ],
  },
});

/** One suite: its files, how many of them at a time, and the longest that one test or hook may take. */
function suite(name: string, files: string, limits: { workers: number; seconds: number; order: number }) {
  return {
    extends: true as const,
    test: {
      name,
      include: [files],
      maxWorkers: limits.workers,
      testTimeout: limits.seconds * 1000,
      hookTimeout: limits.seconds * 1000,
      teardownTimeout: 10_000,
      sequence: { groupOrder: limits.order },
    },
  };
}
