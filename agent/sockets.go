package agent

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"syscall"
)

// sockstat is what the agent uses of /proc/net/sockstat and sockstat6.
type sockstat struct {
	tcp      uint32 // sockets in use, listening ones and not yet closed ones included, TIME_WAIT not
	timeWait uint32 // both address families, in the file of the first
	udp      uint32
}

// parseSockstat reads /proc/net/sockstat or sockstat6: lines of "TCP: inuse 5 orphan 0 …".
func parseSockstat(data []byte) (sockstat, error) {
	var s sockstat
	var field [16][]byte
	for line := range bytes.Lines(data) {
		fields := field[:splitFields(line, field[:])]
		for i := 1; i+1 < len(fields); i += 2 {
			var into *uint32
			switch what := string(fields[i]); string(fields[0]) {
			case "TCP:", "TCP6:":
				if what == "inuse" {
					into = &s.tcp
				} else if what == "tw" && len(fields[0]) == len("TCP:") {
					into = &s.timeWait
				}
			case "UDP:", "UDP6:":
				if what == "inuse" {
					into = &s.udp
				}
			}
			if into == nil {
				continue
			}
			n, ok := parseDecimal(fields[i+1])
			if !ok || n > 1<<32-1 {
				return sockstat{}, fmt.Errorf("sockstat: %s %s is %.40q, not a number of sockets", fields[0], fields[i], fields[i+1])
			}
			*into = uint32(n)
		}
	}
	return s, nil
}

// parseEstablished reads CurrEstab from /proc/net/snmp: a line of names and a line of values for each protocol.
func parseEstablished(data []byte) (uint32, error) {
	var nameField, field [32][]byte // there are 15, and newer kernels add at the end
	var names [][]byte
	for line := range bytes.Lines(data) {
		if !bytes.HasPrefix(line, []byte("Tcp:")) {
			continue
		}
		if names == nil {
			names = nameField[:splitFields(line, nameField[:])]
			continue
		}
		fields := field[:splitFields(line, field[:])]
		for i, name := range names {
			if string(name) == "CurrEstab" && i < len(fields) {
				n, ok := parseDecimal(fields[i])
				if !ok || n > 1<<32-1 {
					return 0, fmt.Errorf("snmp: CurrEstab is %.40q, not a number of connections", fields[i])
				}
				return uint32(n), nil
			}
		}
	}
	return 0, errors.New("snmp: no CurrEstab")
}

// tcpListen is the kernel's number for a listening TCP socket's state.
const tcpListen = 10

// parseTCPTable counts the sockets of /proc/net/tcp or tcp6 that listen. The fourth column is the state in hexadecimal.
func parseTCPTable(data []byte) (listening uint32, err error) {
	var field [4][]byte
	first := true
	for line := range bytes.Lines(data) {
		if first { // the heading
			first = false
			continue
		}
		switch n := splitFields(line, field[:]); {
		case n == 0:
			continue
		case n < len(field):
			return 0, fmt.Errorf("TCP table line %.80q is malformed", line)
		}
		state, err := strconv.ParseUint(string(field[3]), 16, 8)
		if err != nil {
			return 0, fmt.Errorf("TCP table: state: %w", err)
		}
		if state == tcpListen {
			listening++
		}
	}
	return listening, nil
}

// Netlink's framing (netlink(7)) and the message types that a dump of sockets consists of.
const (
	netlinkHeader  = 16
	netlinkError   = 2
	netlinkDone    = 3
	sockDiagFamily = 20 // SOCK_DIAG_BY_FAMILY: one socket a message
)

// parseSocketDump counts the sockets in one datagram of a sock_diag dump. done says that it was the last one.
func parseSocketDump(data []byte) (sockets uint32, done bool, err error) {
	for len(data) >= netlinkHeader {
		length := int(binary.NativeEndian.Uint32(data))
		if length < netlinkHeader || length > len(data) {
			return 0, false, fmt.Errorf("socket dump: message of %d bytes in a datagram with %d left", length, len(data))
		}
		switch binary.NativeEndian.Uint16(data[4:]) {
		case netlinkDone:
			return sockets, true, nil
		case netlinkError:
			if length < netlinkHeader+4 {
				return 0, false, errors.New("socket dump: error message without a number")
			}
			errno := -int32(binary.NativeEndian.Uint32(data[netlinkHeader:]))
			return 0, false, fmt.Errorf("socket dump: %w", syscall.Errno(errno))
		case sockDiagFamily:
			sockets++
		}
		data = data[min((length+3)&^3, len(data)):]
	}
	return sockets, false, nil
}
