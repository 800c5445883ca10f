import { defineConfig } from 'vite';

export default defineConfig({
  base: './',
  build: { target: 'es2022', chunkSizeWarningLimit: 1500 },
  worker: { format: 'es' },
  // The SDK ships its worker and its wasm ready-made; pre-bundling would lose their places.
  optimizeDeps: { exclude: ['@sluice/client'] },
});
