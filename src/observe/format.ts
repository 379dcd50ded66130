/** Numbers for people: decimal units, two or three significant digits. */

const BYTE_UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
const BIT_UNITS = ['bit/s', 'kbit/s', 'Mbit/s', 'Gbit/s', 'Tbit/s'];

/** `1.5 MB` of a number of bytes. */
export function formatBytes(bytes: number): string {
  return scaled(bytes, BYTE_UNITS);
}

/** `9.4 Gbit/s` of bytes in milliseconds. */
export function formatRate(bytes: number, ms: number): string {
  return scaled(ms > 0 ? (bytes * 8000) / ms : 0, BIT_UNITS);
}

/** `0.4 ms`, `38 ms`, `1.25 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h` of milliseconds. */
export function formatDuration(ms: number): string {
  if (ms < 1000) {
    const shown = digits(ms);
    return shown === '1000' ? '1 s' : `${shown} ms`;
  }
  if (ms < 59_950) return `${digits(ms / 1000)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 3600) return pair(seconds, 60, 'min', 's');
  const minutes = Math.round(seconds / 60);
  if (minutes < 1440) return pair(minutes, 60, 'h', 'min');
  return pair(Math.round(minutes / 60), 24, 'd', 'h');
}

/** `12,345`. */
export function formatCount(count: number): string {
  return Math.round(count)
    .toString()
    .replace(/\B(?=(\d{3})+$)/g, ',');
}

function pair(value: number, per: number, big: string, small: string): string {
  const rest = value % per;
  return rest === 0
    ? `${Math.floor(value / per)} ${big}`
    : `${Math.floor(value / per)} ${big} ${rest} ${small}`;
}

function scaled(value: number, units: readonly string[]): string {
  let scaledValue = Math.max(0, value);
  let unit = 0;
  // 999.5 would be shown as 1000: it belongs to the next unit.
  while (scaledValue >= 999.5 && unit < units.length - 1) {
    scaledValue /= 1000;
    unit++;
  }
  return `${unit === 0 ? Math.round(scaledValue) : digits(scaledValue)} ${units[unit] ?? ''}`;
}

/** Two decimals below 3, one below 100, none above; zeros at the end are left out. */
function digits(value: number): string {
  const places = value < 3 ? 2 : value < 100 ? 1 : 0;
  return String(Number(value.toFixed(places)));
}
