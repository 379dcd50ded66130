/** What the control API gives, as types. */
import type * as z from 'zod';
import type * as schemas from './schemas.js';

export type ApiVersion = z.output<typeof schemas.versionSchema>;
export type ApiHealth = z.output<typeof schemas.healthSchema>;
export type ApiFlow = z.output<typeof schemas.flowSchema>;
export type ApiTcpInfo = z.output<typeof schemas.tcpInfoSchema>;
