package agent

import (
	"bytes"
	"fmt"
	"sort"
	"strings"
)

// mount is one mounted filesystem.
type mount struct {
	mountpoint string
	device     string
	fstype     string
	// id tells filesystems apart: mounts with the same id are the same filesystem. "major:minor" on Linux.
	id string
	// subtree is the part of the filesystem that is mounted, "/" for all of it.
	subtree string
}

// parseMountinfo reads /proc/PID/mountinfo (see proc_pid_mountinfo(5)). Lines it does not understand are an error: the
// format has not changed since 2.6.26.
func parseMountinfo(data []byte) ([]mount, error) {
	var mounts []mount
	for line := range bytes.Lines(data) {
		line = bytes.TrimRight(line, "\n")
		if len(line) == 0 {
			continue
		}
		before, after, found := bytes.Cut(line, []byte(" - "))
		head := bytes.Fields(before)
		tail := bytes.SplitN(after, []byte(" "), 3)
		if !found || len(head) < 6 || len(tail) < 2 {
			return nil, fmt.Errorf("mountinfo line %.80q is malformed", line)
		}
		mounts = append(mounts, mount{
			id:         string(head[2]),
			subtree:    unescapeOctal(string(head[3])),
			mountpoint: unescapeOctal(string(head[4])),
			fstype:     string(tail[0]),
			device:     unescapeOctal(string(tail[1])),
		})
	}
	return mounts, nil
}

// unescapeOctal undoes the kernel's way to write blanks in names: \040 for a space.
func unescapeOctal(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && isOctal(s[i+1]) && isOctal(s[i+2]) && isOctal(s[i+3]) && s[i+1] <= '3' {
			b.WriteByte((s[i+1]-'0')<<6 | (s[i+2]-'0')<<3 | (s[i+3] - '0'))
			i += 3
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func isOctal(c byte) bool { return c >= '0' && c <= '7' }

// chooseMounts returns the mounts that are reported: those that the filters keep, without the ones hidden by a later mount
// on the same place, and each filesystem once however often it is mounted. The mount that stands for a filesystem is "/",
// else one of all of it, else the one with the shortest path.
func chooseMounts(mounts []mount, mountpoints, types Filter) []mount {
	top := make(map[string]int, len(mounts)) // the last mount on a place hides the earlier ones
	for i, m := range mounts {
		top[m.mountpoint] = i
	}
	chosen := make(map[string]mount, 8)
	for i, m := range mounts {
		if top[m.mountpoint] != i || !mountpoints.keeps(m.mountpoint) {
			continue
		}
		// The root of a container is an overlay, and the only filesystem that it has.
		containerRoot := m.mountpoint == "/" && m.fstype == "overlay"
		if !containerRoot && !types.keeps(m.fstype) {
			continue
		}
		if other, taken := chosen[m.id]; !taken || standsBefore(m, other) {
			chosen[m.id] = m
		}
	}
	list := make([]mount, 0, len(chosen))
	for _, m := range chosen {
		list = append(list, m)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].mountpoint < list[j].mountpoint })
	return list
}

func standsBefore(a, b mount) bool {
	switch {
	case a.mountpoint == "/" || b.mountpoint == "/":
		return a.mountpoint == "/"
	case (a.subtree == "/") != (b.subtree == "/"):
		return a.subtree == "/"
	default:
		return len(a.mountpoint) < len(b.mountpoint)
	}
}
