/** What netproxy tells about itself: logs, captures, numbers for people. */
export * from './capture-file.js';
export * from './capture-writer.js';
export * from './format.js';
export * from './logger.js';
export { LINKTYPE_ETHERNET, pcapHeader, pcapRecordLength, SNAP_LENGTH, writePcapRecord } from './pcap.js';
export * from './pcapng.js';
