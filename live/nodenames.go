package live

import (
	"fmt"

	"github.com/gohub-io/gohub/proto/catalogue"
)

// addNodeExporter adds what node_exporter calls the same things, with its labels and, in instance, the host's name. host_id
// is there too, as two hosts may have one name. docs/prometheus.md says what differs.
func (e *Exposition) addNodeExporter() {
	n := nodeNames{e: e}
	host := n.table("host")
	n.label(host, nil)
	for _, m := range []struct{ name, help, metric string }{
		{"node_load1", "1m load average.", "load1"},
		{"node_load5", "5m load average.", "load5"},
		{"node_load15", "15m load average.", "load15"},
		{"node_memory_MemTotal_bytes", "Memory information field MemTotal_bytes.", "memory_total_bytes"},
		{"node_memory_MemAvailable_bytes", "Memory information field MemAvailable_bytes.", "memory_available_bytes"},
		{"node_memory_Cached_bytes", "Memory information field Cached_bytes, without what of it slabs hold.", "memory_cached_bytes"},
		{"node_memory_Buffers_bytes", "Memory information field Buffers_bytes.", "memory_buffers_bytes"},
		{"node_memory_SwapTotal_bytes", "Memory information field SwapTotal_bytes.", "swap_total_bytes"},
		{"node_netstat_Tcp_CurrEstab", "Statistic TcpCurrEstab.", "tcp_established_connections"},
		{"node_sockstat_UDP_inuse", "Number of UDP sockets in state inuse.", "udp_sockets"},
	} {
		n.same(host, m.name, m.help, m.metric)
	}
	n.difference(host, "node_memory_MemFree_bytes", "Memory information field MemFree_bytes, as available less page cache and buffers.",
		"memory_available_bytes", "memory_cached_bytes", "memory_buffers_bytes")
	n.difference(host, "node_memory_SwapFree_bytes", "Memory information field SwapFree_bytes.", "swap_total_bytes", "swap_used_bytes")
	n.derived(host, 1, "node_time_seconds", "System time in seconds since epoch (1970), of the newest sample.", func(v *View, _ int, text *numberText) {
		if v.phase == phaseUp {
			text.setMillis(v.sampled.UnixMilli())
		}
	})
	n.derived(host, 1, "node_boot_time_seconds", "Node boot time, in unixtime.", func(v *View, _ int, text *numberText) {
		if boot := v.facts.GetBootTimeUnixSeconds(); v.phase == phaseUp && boot > 0 {
			text.setCount(uint64(boot))
		}
	})
	host.sets = append(host.sets, func(buf []byte, v *View, _ int) []byte {
		buf = append(appendLabel(buf, "host_id", v.idText()), ',')
		buf = append(appendLabel(buf, "instance", v.hostname), ',')
		buf = append(appendLabel(buf, "machine", v.facts.GetArch()), ',')
		buf = append(appendLabel(buf, "nodename", v.hostname), ',')
		buf = append(appendLabel(buf, "release", v.facts.GetKernelVersion()), ',')
		return appendLabel(buf, "sysname", systemNames[v.facts.GetOs()])
	})
	n.derived(host, 2, "node_uname_info", "Labeled system information.", func(v *View, _ int, text *numberText) {
		if v.phase == phaseUp {
			text.setCount(1)
		}
	})

	n.addCPUSeconds()

	filesystem := n.table("filesystem")
	n.label(filesystem, map[string]string{"device": "device", "fstype": "fstype", "mountpoint": "mountpoint"})
	n.same(filesystem, "node_filesystem_size_bytes", "Filesystem size in bytes.", "filesystem_size_bytes")
	n.same(filesystem, "node_filesystem_avail_bytes", "Filesystem space available to non-root users in bytes.", "filesystem_available_bytes")
	n.difference(filesystem, "node_filesystem_free_bytes", "Filesystem free space in bytes.", "filesystem_size_bytes", "filesystem_used_bytes")
	n.same(filesystem, "node_filesystem_files", "Filesystem total file nodes.", "filesystem_inodes")
	n.difference(filesystem, "node_filesystem_files_free", "Filesystem total free file nodes.", "filesystem_inodes", "filesystem_inodes_used")

	disk := n.table("disk")
	n.label(disk, map[string]string{"device": "device"})
	n.same(disk, "node_disk_read_bytes_total", "The total number of bytes read successfully.", "disk_read_bytes_total")
	n.same(disk, "node_disk_written_bytes_total", "The total number of bytes written successfully.", "disk_written_bytes_total")

	network := n.table("network")
	n.label(network, map[string]string{"interface": "device"})
	n.same(network, "node_network_receive_bytes_total", "Network device statistic receive_bytes.", "network_receive_bytes_total")
	n.same(network, "node_network_transmit_bytes_total", "Network device statistic transmit_bytes.", "network_transmit_bytes_total")

	sensor := n.table("sensor")
	n.label(sensor, map[string]string{"sensor": "sensor"})
	n.same(sensor, "node_hwmon_temp_celsius", "Hardware monitor for temperature (input).", "sensor_temperature_celsius")
}

// systemNames is what uname calls the systems.
var systemNames = map[string]string{"linux": "Linux", "darwin": "Darwin", "windows": "Windows"}

// nodeNames adds metrics under names of node_exporter. The names of the catalogue are those of the code, so one that is not
// there is a mistake of ours and panics.
type nodeNames struct{ e *Exposition }

func (n nodeNames) table(name string) *table {
	for _, t := range n.e.tables {
		if t.family.Name == name {
			return t
		}
	}
	panic("no family " + name)
}

func mustMetric(name string) *catalogue.Metric {
	metric, ok := catalogue.MetricByName(name)
	if !ok {
		panic("no metric " + name)
	}
	return metric
}

// label adds the second set of a table's labels: instance, host_id, and those of the family, by the names given.
func (n nodeNames) label(t *table, names map[string]string) {
	t.sets = append(t.sets, func(buf []byte, v *View, row int) []byte {
		for i, label := range t.family.Labels {
			buf = append(appendLabel(buf, names[label.Name], v.Label(t.family, row, i)), ',')
		}
		buf = append(appendLabel(buf, "host_id", v.idText()), ',')
		return appendLabel(buf, "instance", v.hostname)
	})
	for _, label := range t.family.Labels {
		if names[label.Name] == "" {
			panic(fmt.Sprintf("label %s of %s has no name", label.Name, t.family.Name))
		}
	}
}

// same gives another name to a metric of the catalogue; its number is there already.
func (n nodeNames) same(t *table, name, help, metric string) {
	of := mustMetric(metric)
	for i := range t.slots {
		if t.slots[i].metric == of {
			n.add(t, 1, name, help, i)
			return
		}
	}
	panic(metric + " is not exposed")
}

// difference is a count less others, and 0 where that would be less.
func (n nodeNames) difference(t *table, name, help, from string, less ...string) {
	minuend := mustMetric(from)
	var subtrahends []*catalogue.Metric
	for _, metric := range less {
		subtrahends = append(subtrahends, mustMetric(metric))
	}
	n.derived(t, 1, name, help, func(v *View, row int, text *numberText) {
		if v.phase != phaseUp || row >= v.Rows(t.family) {
			return
		}
		rest, ok := v.Value(minuend, row)
		for _, metric := range subtrahends {
			value, has := v.Value(metric, row)
			rest, ok = rest-value, ok && has
		}
		if ok {
			text.setCount(uint64(max(rest, 0)))
		}
	})
}

func (n nodeNames) derived(t *table, set int, name, help string, derive func(*View, int, *numberText)) {
	t.slots = append(t.slots, slot{derive: derive})
	n.add(t, set, name, help, len(t.slots)-1)
}

func (n nodeNames) add(t *table, set int, name, help string, slot int) {
	n.e.exposed = append(n.e.exposed, exposed{
		name: name, help: help, counter: len(name) > 6 && name[len(name)-6:] == "_total",
		table: t, set: set, lines: []line{{head: name + "{", slot: slot}},
	})
}
