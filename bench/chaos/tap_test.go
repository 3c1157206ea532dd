package chaos

import (
	"encoding/binary"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub-io/gohub/bench/oracle"
)

// relayed opens a relay with a tap, and returns its two outer ends.
func relayed(t *testing.T, use tap) (client, target net.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	r, err := openRelay(listener.Addr().String(), use)
	require.NoError(t, err)
	t.Cleanup(r.close)
	client, err = net.Dial("tcp", r.address())
	require.NoError(t, err)
	t.Cleanup(func() { client.Close() })
	target, err = listener.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { target.Close() })
	for _, end := range []net.Conn{client, target} {
		require.NoError(t, end.SetDeadline(time.Now().Add(10*time.Second)))
	}
	return client, target
}

func message(kind byte, body string) []byte {
	header := binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(body)+4))
	return append(header, body...)
}

func startup() []byte { return message(0, "\x00\x03\x00\x00user\x00gohub\x00\x00")[1:] }

// talk writes on one end and requires that it arrives at the other.
func talk(t *testing.T, from, to net.Conn, what []byte) {
	t.Helper()
	_, err := from.Write(what)
	require.NoError(t, err)
	got := make([]byte, len(what))
	_, err = io.ReadFull(to, got)
	require.NoError(t, err)
	require.Equal(t, what, got)
}

// flush is a flush's traffic, by turns of the server and the database.
var flush = []struct {
	up   bool
	what []byte
}{
	{true, startup()},
	{false, message('Z', "I")},
	{true, message('Q', "COPY host_samples FROM STDIN\x00")},
	{true, message('d', "rows")},
	{false, message('C', "COPY 1\x00")},
	{false, message('Z', "T")},
	{true, message('Q', "SELECT advance_cursors('{}'); COMMIT\x00")},
	{false, message('C', "COMMIT\x00")},
	{false, message('Z', "I")},
}

func TestPostgresTapPassesAFlush(t *testing.T) {
	client, target := relayed(t, postgresTap(&traps{}))
	for _, turn := range flush {
		if turn.up {
			talk(t, client, target, turn.what)
		} else {
			talk(t, target, client, turn.what)
		}
	}
}

func TestPostgresTapSprings(t *testing.T) {
	for at, want := range map[point]struct {
		turn   int
		passes bool
	}{
		beforeCopy:       {2, false},
		afterCopy:        {4, true},
		beforeCommit:     {6, false},
		commitSent:       {6, true},
		commitAnswerLost: {7, false},
		commitAnswered:   {8, true},
	} {
		t.Run(string(at), func(t *testing.T) {
			traps := &traps{}
			trap := traps.set(at, 0, false, func() {})
			client, target := relayed(t, postgresTap(traps))
			for i, turn := range flush[:want.turn+1] {
				from, to := client, target
				if !turn.up {
					from, to = target, client
				}
				if i < want.turn || want.passes {
					talk(t, from, to, turn.what)
					continue
				}
				_, err := from.Write(turn.what)
				require.NoError(t, err)
			}
			<-trap.sprung
			_, err := client.Read(make([]byte, 1))
			require.Error(t, err, "the connection is cut, and what the trap held back is lost")
		})
	}
}

func frame(kind byte, body string) []byte {
	return append([]byte{0, 0, byte(len(body)), kind, 0, 0, 0, 0, 1}, body...)
}

func TestGRPCTapTellsAcksFromWelcomes(t *testing.T) {
	settings := frame(4, "")
	welcome := frame(frameData, "\x00\x00\x00\x00\x02\x0a\x00")
	ack := frame(frameData, "\x00\x00\x00\x00\x02\x12\x00")
	for at, want := range map[point]struct{ whole, lost []byte }{
		beforeWelcome: {settings, welcome},
		afterWelcome:  {append(settings, welcome...), nil},
		beforeAck:     {append(settings, welcome...), ack},
		afterAck:      {append(append(settings, welcome...), ack...), nil},
	} {
		t.Run(string(at), func(t *testing.T) {
			traps := &traps{}
			trap := traps.set(at, 0, false, func() {})
			client, target := relayed(t, grpcTap(traps))
			talk(t, target, client, want.whole)
			_, err := target.Write(want.lost)
			require.NoError(t, err)
			<-trap.sprung
			_, err = client.Read(make([]byte, 1))
			require.Error(t, err)
		})
	}
}

func TestTrapSkipsAndKeeps(t *testing.T) {
	var traps traps
	times := 0
	trap := traps.set(afterAck, 2, true, func() { times++ })
	for range 5 {
		require.NoError(t, traps.pass(afterAck))
		require.NoError(t, traps.pass(beforeAck))
	}
	<-trap.sprung
	require.Equal(t, 1, times)
}

func TestJournalRemembersWhatWasTaken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j, err := openJournal(path)
	require.NoError(t, err)
	defer j.file.Close()
	require.NoError(t, j.write(journalBegin, 3, 2, 0))
	require.NoError(t, j.write(journalDone, 3, 2, 0))
	require.NoError(t, j.write(journalSent, 3, 0, 7))
	require.NoError(t, j.write(journalBegin, 3, 2, 2))
	ledger := &oracle.Ledger{}
	sent, err := readJournal(path, ledger)
	require.NoError(t, err)
	require.Equal(t, map[int]uint64{3: 7}, sent)
	require.Equal(t, 2, ledger.Count())
	require.Equal(t, 4, ledger.Next(3), "a tick that was cut short is not taken again")
}
