package agent

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// tableEvery is how often the TCP tables are read where the kernel does not answer sock_diag: each read walks the whole
// connection hash, 5 ms and more on a machine with tens of gigabytes of memory.
const tableEvery = time.Minute

// connectionSource reads the kernel's summaries:
//
//   - connections: sockstat's sockets in use and in TIME_WAIT, less those that listen;
//   - established: CurrEstab of snmp, which counts connections that the other side has closed (CLOSE_WAIT) too;
//   - listening: a sock_diag dump of that state alone, which walks the short list of listeners only.
type connectionSource struct {
	v4, v6, snmp keptFile
	dump         socketDump

	listening   uint32 // from the TCP tables
	listeningAt time.Time
}

func (s *connectionSource) count(_ context.Context, m *machine) (connectionCounts, error) {
	var counts connectionCounts
	data, err := s.v4.read(m.proc, "net", "sockstat")
	if err != nil {
		return counts, err
	}
	v4, err := parseSockstat(data)
	if err != nil {
		return counts, err
	}
	var v6 sockstat
	data, err = s.v6.read(m.proc, "net", "sockstat6")
	if err == nil {
		v6, err = parseSockstat(data)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // no IPv6, no file
		return counts, err
	}
	counts.udp = pointer(v4.udp + v6.udp)

	var problems []error
	if data, err = s.snmp.read(m.proc, "net", "snmp"); err == nil {
		var established uint32
		if established, err = parseEstablished(data); err == nil {
			counts.established = &established
		}
	}
	problems = append(problems, err)
	listening, err := s.countListening(m)
	problems = append(problems, err)
	if err == nil {
		counts.listening = &listening
		inUse := v4.tcp + v6.tcp
		counts.tcp = pointer(inUse - min(listening, inUse) + v4.timeWait)
	}
	return counts, errors.Join(problems...)
}

func (s *connectionSource) countListening(m *machine) (uint32, error) {
	if m.proc == "/proc" { // sock_diag tells of this network namespace, which another proc may not be of
		if n, err := s.dump.countListening(); err == nil {
			return n, nil
		}
	}
	if now := m.now(); s.listeningAt.IsZero() || now.Sub(s.listeningAt) >= tableEvery {
		var total uint32
		for _, table := range []string{"tcp", "tcp6"} {
			data, err := readFile(filepath.Join(m.proc, "net", table))
			if errors.Is(err, fs.ErrNotExist) && table == "tcp6" {
				continue
			}
			if err != nil {
				return 0, err
			}
			n, err := parseTCPTable(data)
			if err != nil {
				return 0, err
			}
			total += n
		}
		s.listening, s.listeningAt = total, now
	}
	return s.listening, nil
}

func (s *connectionSource) close() {
	s.v4.close()
	s.v6.close()
	s.snmp.close()
	s.dump.close()
}

// socketDump asks the kernel for sockets, by sock_diag(7). Not safe for concurrent use.
type socketDump struct {
	fd     int // 0 is not open
	buffer []byte
}

// countListening counts the listening TCP sockets of both families. After an error the next call starts afresh.
func (d *socketDump) countListening() (total uint32, err error) {
	if err := d.connect(); err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			d.close() // what is left of the answer must not be taken for the next one
		}
	}()
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		const requestBytes = netlinkHeader + 56 // struct inet_diag_req_v2
		var request [requestBytes]byte
		binary.NativeEndian.PutUint32(request[0:], requestBytes)
		binary.NativeEndian.PutUint16(request[4:], sockDiagFamily)
		binary.NativeEndian.PutUint16(request[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
		request[netlinkHeader] = family
		request[netlinkHeader+1] = unix.IPPROTO_TCP
		binary.NativeEndian.PutUint32(request[netlinkHeader+4:], 1<<tcpListen)
		if err := unix.Sendto(d.fd, request[:], 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
			return 0, fmt.Errorf("ask sock_diag: %w", err)
		}
		for done := false; !done; {
			n, err := retry(func() (int, error) { return unix.Read(d.fd, d.buffer) })
			if err != nil {
				return 0, fmt.Errorf("read sock_diag: %w", err)
			}
			var sockets uint32
			if sockets, done, err = parseSocketDump(d.buffer[:n]); err != nil {
				return 0, err
			}
			total += sockets
		}
	}
	return total, nil
}

func (d *socketDump) connect() error {
	if d.fd > 0 {
		return nil
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return fmt.Errorf("open sock_diag: %w", err)
	}
	timeout := unix.NsecToTimeval(int64(200 * time.Millisecond)) // the kernel answers at once or never
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		_ = unix.Close(fd)
		return fmt.Errorf("bound sock_diag: %w", err)
	}
	d.fd = fd
	if d.buffer == nil {
		d.buffer = make([]byte, 16<<10) // what the kernel fills at most when it is offered less than 32 KiB
	}
	return nil
}

func (d *socketDump) close() {
	if d.fd > 0 {
		_ = unix.Close(d.fd)
		d.fd = 0
	}
}
