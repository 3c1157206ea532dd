package agent

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCleanMappings(t *testing.T) {
	const smaps = `00400000-008b6000 r-xp 00000000 fe:00 1234                     /opt/gohub agent
Size:               4824 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me
008b6000-00df3000 r--p 004b6000 fe:00 1234                     /opt/gohub agent
Anonymous:             0 kB
00df3000-00e00000 r--p 009f3000 fe:00 1234                     /opt/gohub agent
Anonymous:             4 kB
00e00000-00e59000 rw-p 00a00000 fe:00 1234                     /opt/gohub agent
Anonymous:             0 kB
00e59000-00e60000 rw-p 00000000 00:00 0
Anonymous:             0 kB
7f0000000000-7f0000001000 r--p 00000000 fe:00 99               /opt/other
Anonymous:             0 kB
7f0000002000-7f0000003000 r--s 00000000 fe:00 1234             /opt/gohub agent
Anonymous:             0 kB
`
	mappings, err := cleanMappings(strings.NewReader(smaps), "/opt/gohub agent")
	require.NoError(t, err)
	require.Equal(t, []mapping{{0x400000, 0x8b6000}, {0x8b6000, 0xdf3000}}, mappings,
		"a page that relocation changed, one that may be written, or one of another file must stay")
}

// The code that is unmapped is running, and must come back; so must its constants.
func TestUnmapProgram(t *testing.T) {
	program, err := os.Readlink("/proc/self/exe")
	require.NoError(t, err)
	before := programResident(t)
	for range 3 {
		require.NoError(t, unmapProgram())
	}
	require.Less(t, programResident(t), before)

	smaps, err := os.Open("/proc/self/smaps")
	require.NoError(t, err)
	defer smaps.Close()
	mappings, err := cleanMappings(smaps, program)
	require.NoError(t, err)
	require.NotEmpty(t, mappings)
}

// programResident returns how many kB of files this process has mapped.
func programResident(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(status), "RssFile:")
	require.True(t, found)
	kilobytes := 0
	for _, digit := range strings.Fields(rest)[0] {
		kilobytes = 10*kilobytes + int(digit-'0')
	}
	return kilobytes
}
