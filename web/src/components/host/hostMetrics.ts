// Which metrics the host page reads, a list a family: one request each. The lists never change, so that charts that need
// the same list share one request.

export const hostMetrics = [
  "cpu_usage_percent",
  "cpu_user_percent",
  "cpu_system_percent",
  "cpu_iowait_percent",
  "cpu_steal_percent",
  "load1",
  "load5",
  "load15",
  "memory_total_bytes",
  "memory_used_bytes",
  "memory_cached_bytes",
  "memory_buffers_bytes",
  "swap_total_bytes",
  "swap_used_bytes",
  "tcp_connections",
  "tcp_established_connections",
  "tcp_listening_sockets",
  "udp_sockets",
  "processes",
] as const;

export const coreMetrics = ["core_usage_percent"] as const;
export const filesystemMetrics = ["filesystem_used_percent"] as const;
export const diskMetrics = ["disk_read_bytes_per_second", "disk_written_bytes_per_second", "disk_busy_percent"] as const;
export const networkMetrics = ["network_receive_bytes_per_second", "network_transmit_bytes_per_second"] as const;
export const sensorMetrics = ["sensor_temperature_celsius"] as const;
