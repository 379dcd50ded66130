/** Where the control API is when nobody says. */

/** The environment variable that names the control API's address. */
export const API_VARIABLE = 'NETPROXY_API';

/**
 * `$XDG_RUNTIME_DIR/netproxy.sock`, for root `/run/netproxy.sock`: folders that no other user writes to. Undefined where
 * there is neither.
 */
export function defaultApiAddress(
  env: Readonly<Record<string, string | undefined>> = process.env,
  uid = process.geteuid?.(),
): string | undefined {
  if (uid === 0) return 'unix:/run/netproxy.sock';
  const folder = env['XDG_RUNTIME_DIR'];
  return folder?.startsWith('/') === true ? `unix:${folder}/netproxy.sock` : undefined;
}
