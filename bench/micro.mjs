export async function micro() { return []; }
export function microTable() { return ''; }
