import path from 'node:path';
import type { NextConfig } from 'next';

const workspace = path.join(import.meta.dirname, '..');

const config: NextConfig = {
  output: 'standalone',
  // The packages of the workspace stand one folder up.
  outputFileTracingRoot: workspace,
  turbopack: { root: workspace },
  images: { unoptimized: true },
  poweredByHeader: false,
  async headers() {
    return [
      {
        source: '/:path*',
        headers: [
          { key: 'content-security-policy', value: "frame-ancestors 'none'; base-uri 'none'; object-src 'none'" },
          { key: 'referrer-policy', value: 'no-referrer' },
          { key: 'x-content-type-options', value: 'nosniff' },
        ],
      },
    ];
  },
};

export default config;
