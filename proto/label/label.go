// Package label holds what a host's labels may be. The agent, ingest and query all hold labels against it, so that what one
// takes the others do too.
package label

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// Limits of a host's labels: enough for every scheme of naming, and no way to fill the server's memory.
const (
	MaxLabels     = 32
	MaxNameBytes  = 64
	MaxValueBytes = 256
)

// reserved are the names that selectors and groups take for something else: facts of the host, and labels of metrics'
// instances.
var reserved = []string{
	"host", "host_id", "agent_id", "status", "hostname", "os", "platform", "platform_version", "kernel_version", "arch",
	"cpu_model", "cpu_cores", "agent_version",
	"core", "mountpoint", "device", "fstype", "interface", "sensor", "pid", "name", "username", "labels",
}

// Reserved tells whether no label may have the name.
func Reserved(name string) bool { return slices.Contains(reserved, name) }

// Check reports what is wrong with a host's labels.
func Check(labels map[string]string) error {
	if err := CheckForm(labels); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		if Reserved(name) {
			return fmt.Errorf("no label can be named %s: that is a fact of the host or a label of its metrics", name)
		}
	}
	return nil
}

// CheckForm is Check without the reserved names: a server that reserves another one must go on taking the agents that have it.
func CheckForm(labels map[string]string) error {
	if len(labels) > MaxLabels {
		return fmt.Errorf("%d labels are over the limit of %d", len(labels), MaxLabels)
	}
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		if err := check(name, labels[name]); err != nil {
			return err
		}
	}
	return nil
}

func check(name, value string) error {
	switch {
	case !isName(name):
		return fmt.Errorf("the label's name %q is not made of 1 to %d letters, digits and _, with no digit first", clip(name), MaxNameBytes)
	case len(value) > MaxValueBytes:
		return fmt.Errorf("the label %s has %d bytes, the limit is %d", name, len(value), MaxValueBytes)
	case !utf8.ValidString(value):
		return fmt.Errorf("the label %s is not UTF-8", name)
	case strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return fmt.Errorf("the label %s has a control character: %q", name, clip(value))
	}
	return nil
}

func isName(name string) bool {
	if name == "" || len(name) > MaxNameBytes || '0' <= name[0] && name[0] <= '9' {
		return false
	}
	return !strings.ContainsFunc(name, func(r rune) bool {
		return r != '_' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9')
	})
}

// Parse reads labels as a configuration has them, "site=ams,role=db". Blanks around names and values do not count.
func Parse(text string) (map[string]string, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	labels := map[string]string{}
	for pair := range strings.SplitSeq(text, ",") {
		name, value, found := strings.Cut(pair, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if !found {
			return nil, fmt.Errorf("%q is no label; labels are written as site=ams,role=db", clip(pair))
		}
		if _, twice := labels[name]; twice {
			return nil, fmt.Errorf("the label %s is given twice", clip(name))
		}
		labels[name] = value
	}
	if err := Check(labels); err != nil {
		return nil, err
	}
	return labels, nil
}

// Merge returns the labels that a host has: those of its agent, and over them those that the server gives it, where the empty
// value takes a label away.
func Merge(agents, servers map[string]string) map[string]string {
	if len(agents) == 0 && len(servers) == 0 {
		return nil
	}
	merged := make(map[string]string, len(agents)+len(servers))
	maps.Copy(merged, agents)
	maps.Copy(merged, servers)
	maps.DeleteFunc(merged, func(_, value string) bool { return value == "" })
	return merged
}

func clip(text string) string {
	if len(text) > MaxNameBytes {
		text = text[:MaxNameBytes] + "…"
	}
	return strings.ToValidUTF8(text, "�")
}
