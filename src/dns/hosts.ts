/** The host's hosts file as names that are known here. */
import { addressRecord, pointerRecord, type AnswerParts, type DnsRecord } from './answer.js';
import { CLASS_IN, Rcode, RecordType } from './codes.js';
import type { Question } from './message.js';
import { reverseAddress } from './names.js';
import type { HostsNames, LocalNames, SystemMode } from './types.js';

/** Seconds that an entry of the hosts file may be kept. */
const HOSTS_TTL = 10;

export class HostsFileNames implements LocalNames {
  readonly source = 'hosts';
  private readonly hosts: HostsNames;
  private readonly mode: () => SystemMode;

  /** Where `mode` says `resolver`, the system's resolver reads the file by itself. */
  constructor(hosts: HostsNames, mode: () => SystemMode = () => 'relay') {
    this.hosts = hosts;
    this.mode = mode;
  }

  resolve({ name, type, class: asked }: Question): AnswerParts | undefined {
    if (asked !== CLASS_IN || this.mode() !== 'relay') return undefined;
    let answers: readonly DnsRecord[];
    if (type === RecordType.A || type === RecordType.AAAA) {
      const found = this.hosts.addresses(name);
      if (!found) return undefined;
      const family = type === RecordType.A ? 4 : 6;
      answers = found.flatMap((address) => addressRecord(address, family, HOSTS_TTL) ?? []);
    } else if (type === RecordType.PTR) {
      const address = reverseAddress(name);
      const found = address === undefined ? undefined : this.hosts.names(address);
      if (!found) return undefined;
      answers = found.flatMap((target) => pointerRecord(target, HOSTS_TTL) ?? []);
    } else return undefined;
    // The C library goes on to DNS when the file has the name for the other family only.
    return answers.length > 0 ? { rcode: Rcode.noError, answers } : undefined;
  }
}
