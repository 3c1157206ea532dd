package agent

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func fixture(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata/fixture/proc", path))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestWorkerOfTheKernelIsNamedWithoutItsWork(t *testing.T) {
	for name, want := range map[string]string{
		"kworker/0:1-events": "kworker/0:1", "kworker/u8:2+flush-254:0": "kworker/u8:2", "kworker/1:0H-kblockd": "kworker/1:0H", "kworker/3:1": "kworker/3:1",
		"kworker/R-rcu_gp": "kworker/R-rcu_gp", "kworker/": "kworker/", "kworker/-": "kworker/-", "kworkers/0:1-a": "kworkers/0:1-a", "my-program": "my-program", "": "",
	} {
		if got := string(workerName([]byte(name))); got != want {
			t.Errorf("workerName(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestParseProcessStat(t *testing.T) {
	tail := " S 1 2 3 0 -1 4194304 1 0 0 0 150 50 0 0 20 0 1 0 777 1000 42 0"
	for _, c := range []struct {
		text string
		name string
		pid  uint32
		ok   bool
	}{
		{"12 (bash)" + tail, "bash", 12, true},
		{"12 (tmux: server)" + tail, "tmux: server", 12, true},
		{"12 (a) b (c)" + tail, "a) b (c", 12, true},
		{"12 ()" + tail, "", 12, true},
		{"12 (\xff\x00)" + tail, "\xff\x00", 12, true},
		{"12 (bash) S 1 2", "", 0, false},
		{"x (bash)" + tail, "", 0, false},
		{"4294967296 (bash)" + tail, "", 0, false},
		{"(bash)" + tail, "", 0, false},
		{"", "", 0, false},
		{"12 (bash" + tail, "", 0, false},
		{"12 (bash)" + strings.Replace(tail, "150", "-1", 1), "", 0, false},
	} {
		got, err := parseProcessStat([]byte(c.text))
		if (err == nil) != c.ok {
			t.Errorf("%q: error %v", c.text, err)
			continue
		}
		if c.ok && (string(got.name) != c.name || got.pid != c.pid || got.cpu != 2*time.Second || got.start != 777 || got.residentPages != 42) {
			t.Errorf("%q: got %+v", c.text, got)
		}
	}
}

func TestFullName(t *testing.T) {
	for _, c := range []struct{ short, commandLine, want string }{
		{"bash", "/bin/bash\x00-l\x00", "bash"},
		{"systemd-resolve", "/lib/systemd/systemd-resolved\x00", "systemd-resolved"},
		{"systemd-resolve", "python3\x00", "systemd-resolve"},
		{"kworker/0:0H-ev", "", "kworker/0:0H-ev"},
	} {
		if got := fullName(c.short, []byte(c.commandLine)); got != c.want {
			t.Errorf("fullName(%q, %q) = %q, want %q", c.short, c.commandLine, got, c.want)
		}
	}
}

func TestParseMountinfo(t *testing.T) {
	mounts, err := parseMountinfo(fixture(t, "1/mountinfo"))
	if err != nil {
		t.Fatal(err)
	}
	want := mount{mountpoint: "/mnt/bind mount", device: "/dev/sda2", fstype: "xfs", id: "8:2", subtree: "/sub"}
	if len(mounts) != 8 || mounts[5] != want {
		t.Errorf("got %+v", mounts)
	}
	if _, err := parseMountinfo([]byte("36 35 98:0 /mnt1 /mnt2\n")); err == nil {
		t.Error("a line without a separator is taken")
	}
}

func TestChooseMounts(t *testing.T) {
	filters := func(pattern string) Filter { return Filter{Exclude: regexp.MustCompile(pattern)} }
	for _, c := range []struct {
		name   string
		mounts []mount
		want   []string
	}{
		{"bind mounts once, the whole before a part", []mount{
			{"/a", "/dev/sdb", "ext4", "8:16", "/sub"}, {"/data/long", "/dev/sdb", "ext4", "8:16", "/"}, {"/b", "/dev/sdb", "ext4", "8:16", "/"},
		}, []string{"/b"}},
		{"root before anything", []mount{
			{"/mnt/top", "/dev/sda", "btrfs", "0:30", "/"}, {"/", "/dev/sda", "btrfs", "0:30", "/@"}, {"/home", "/dev/sda", "btrfs", "0:30", "/@home"},
		}, []string{"/"}},
		{"a later mount hides an earlier one", []mount{
			{"/mnt", "/dev/sdb", "ext4", "8:16", "/"}, {"/mnt", "/dev/sdc", "xfs", "8:32", "/"},
		}, []string{"/mnt"}},
		{"pseudo and network filesystems left out", []mount{
			{"/", "/dev/sda", "ext4", "8:1", "/"},
			{"/x", "proc", "proc", "0:2", "/"},
			{"/y", "h:/e", "nfs4", "0:3", "/"},
			{"/z", "lxcfs", "fuse.lxcfs", "0:4", "/"},
			{"/w", "/dev/loop0", "squashfs", "7:0", "/"},
			{"/n", "/dev/sdc", "fuseblk", "8:32", "/"},
		}, []string{"/", "/n"}},
		{"a container's root, and not its hosts file", []mount{
			{"/", "overlay", "overlay", "0:60", "/"}, {"/etc/hosts", "/dev/sda", "ext4", "8:1", "/var/lib/x"}, {"/var/lib/docker/overlay2/1/merged", "overlay", "overlay", "0:61", "/"},
		}, []string{"/"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, m := range chooseMounts(c.mounts, filters(DefaultMountpointExclude), filters(DefaultFilesystemTypeExclude)) {
				got = append(got, m.mountpoint)
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	include := Filter{Include: regexp.MustCompile("^nfs4$"), Exclude: regexp.MustCompile(DefaultFilesystemTypeExclude)}
	if got := chooseMounts([]mount{{"/y", "h:/e", "nfs4", "0:3", "/"}}, Filter{}, include); len(got) != 1 {
		t.Error("an included kind of filesystem is left out")
	}
}

func TestDefaultInterfaceExclude(t *testing.T) {
	f := Filter{Exclude: regexp.MustCompile(DefaultInterfaceExclude)}
	for _, name := range []string{"lo", "lo0", "veth12ab", "docker0", "br-1234", "virbr0", "cali123", "flannel.1", "cni0", "tun0", "utun3", "awdl0", "ifb0", "Loopback Pseudo-Interface 1", "vEthernet (WSL)"} {
		if f.keeps(name) {
			t.Errorf("%s is kept", name)
		}
	}
	for _, name := range []string{"eth0", "ens3", "enp0s31f6", "wlan0", "bond0", "br0", "vlan10", "en0", "Ethernet", "Wi-Fi", "wg0"} {
		if !f.keeps(name) {
			t.Errorf("%s is left out", name)
		}
	}
}

func TestParseSockets(t *testing.T) {
	if s, err := parseSockstat(fixture(t, "net/sockstat")); err != nil || s != (sockstat{tcp: 9, timeWait: 4, udp: 5}) {
		t.Errorf("sockstat %+v, %v", s, err)
	}
	if s, err := parseSockstat(fixture(t, "net/sockstat6")); err != nil || s != (sockstat{tcp: 3, udp: 2}) {
		t.Errorf("sockstat6 %+v, %v", s, err)
	}
	if n, err := parseEstablished(fixture(t, "net/snmp")); err != nil || n != 7 {
		t.Errorf("established %d, %v", n, err)
	}
	if n, err := parseTCPTable(fixture(t, "net/tcp")); err != nil || n != 2 {
		t.Errorf("listening %d, %v", n, err)
	}
	if n, err := parseTCPTable(fixture(t, "net/tcp6")); err != nil || n != 1 {
		t.Errorf("listening on IPv6 %d, %v", n, err)
	}
	var dump []byte
	message := func(kind uint16, body int) {
		m := make([]byte, netlinkHeader+body)
		binary.NativeEndian.PutUint32(m, uint32(len(m)))
		binary.NativeEndian.PutUint16(m[4:], kind)
		dump = append(dump, m...)
	}
	message(sockDiagFamily, 72)
	message(sockDiagFamily, 72)
	if n, done, err := parseSocketDump(dump); n != 2 || done || err != nil {
		t.Errorf("dump: %d, %t, %v", n, done, err)
	}
	message(netlinkDone, 4)
	if n, done, err := parseSocketDump(dump); n != 2 || !done || err != nil {
		t.Errorf("dump's end: %d, %t, %v", n, done, err)
	}
}

func TestParseNetstat(t *testing.T) {
	output := `Active Internet connections (including servers)
Proto Recv-Q Send-Q  Local Address          Foreign Address        (state)
tcp4       0      0  192.168.1.2.50000      1.2.3.4.443            ESTABLISHED
tcp4       0      0  192.168.1.2.50001      1.2.3.4.443            CLOSE_WAIT
tcp46      0      0  *.8080                 *.*                    LISTEN
`
	if connections, established, listening := parseNetstat(output); connections != 2 || established != 1 || listening != 1 {
		t.Errorf("got %d, %d, %d", connections, established, listening)
	}
}

func TestParsePS(t *testing.T) {
	got := parsePS("    1  12345   1:02.50 /sbin/launchd\n  345    100 12:00:01.00 /Applications/Some App.app/Contents/MacOS/Some App\n    7  1 1-00:00:00 x\nnonsense\n")
	want := []psLine{
		{1, 12345 * 1024, 62*time.Second + 500*time.Millisecond, "launchd"},
		{345, 100 * 1024, 12*time.Hour + time.Second, "Some App"},
		{7, 1024, 24 * time.Hour, "x"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
}

func TestCleanText(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"plain", "plain"},
		{"a\x00b", "ab"},
		{"a\xffb", "a\uFFFDb"},
		{strings.Repeat("é", 200), strings.Repeat("é", 128)},
		{"x" + strings.Repeat("é", 200), "x" + strings.Repeat("é", 127)},
	} {
		if got := cleanText(c.in); got != c.want {
			t.Errorf("cleanText(%q) = %q", c.in, got)
		}
	}
}

// A fuzz target asks that a parser does not panic and that what it accepts is within its bounds.

func FuzzParseProcessStat(f *testing.F) {
	f.Add(fixture(f, "1234/stat"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if s, err := parseProcessStat(data); err == nil && s.cpu < 0 {
			t.Errorf("negative CPU time: %+v", s)
		}
	})
}

func FuzzParseMountinfo(f *testing.F) {
	f.Add(fixture(f, "1/mountinfo"))
	f.Fuzz(func(_ *testing.T, data []byte) {
		if mounts, err := parseMountinfo(data); err == nil {
			chooseMounts(mounts, Filter{}, Filter{})
		}
	})
}

func FuzzParseDiskstats(f *testing.F) {
	f.Add(fixture(f, "diskstats"))
	f.Fuzz(func(_ *testing.T, data []byte) { _, _ = parseDiskstats(data, nil) })
}

func FuzzParseSockets(f *testing.F) {
	for _, path := range []string{"net/sockstat", "net/snmp", "net/tcp"} {
		f.Add(fixture(f, path))
	}
	f.Fuzz(func(_ *testing.T, data []byte) {
		_, _ = parseSockstat(data)
		_, _ = parseEstablished(data)
		_, _ = parseTCPTable(data)
		_, _, _ = parseSocketDump(data)
		parseNetstat(string(data))
	})
}

func FuzzParsePS(f *testing.F) {
	f.Add("    1  12345   1:02.50 /sbin/launchd\n")
	f.Fuzz(func(t *testing.T, output string) {
		for _, line := range parsePS(output) {
			if line.cpu < 0 {
				t.Errorf("negative CPU time: %+v", line)
			}
		}
	})
}

func FuzzParseTexts(f *testing.F) {
	f.Add("86400.55 170000.10\n")
	f.Add("Uid:\t1\t2\t3\t4\n")
	f.Add("btime 1700000000\n")
	f.Add("a\xff\x00")
	f.Fuzz(func(t *testing.T, text string) {
		_, _ = parseUptime(text)
		_, _ = parseBootTime(text)
		_, _ = parseStatusUID([]byte(text))
		_, _ = parsePasswd([]byte(text), "0")
		if clean := cleanText(text); !utf8.ValidString(clean) || len(clean) > maxText || strings.ContainsRune(clean, 0) {
			t.Errorf("cleanText(%q) = %q", text, clean)
		}
	})
}
