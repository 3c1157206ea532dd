// Package rig has what benchmarks and fault runs need of the programs that they start: an address for them, the end of
// what they say, a stop where they are, and a database server that may be killed.
package rig

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
)

// FreeAddress finds a free port of 127.0.0.1 below those that systems give to outgoing connections (Linux: from 32768): while
// a killed server's port is free, a client that looks for it would else get it as its own and meet itself.
func FreeAddress() (string, error) {
	const first, ports, tries = 20_000, 12_000, 100
	var err error
	for range tries {
		var listener net.Listener
		if listener, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", first+rand.IntN(ports))); err == nil {
			defer listener.Close()
			return listener.Addr().String(), nil
		}
	}
	return "", fmt.Errorf("find a free port: %w", err)
}

// Tail keeps the end of what is written to it. It is safe for concurrent use, and its zero value is ready.
type Tail struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// tailBytes is enough for the words before an end.
const tailBytes = 8 << 10

// Write implements io.Writer.
func (t *Tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text.Write(p)
	if over := t.text.Len() - tailBytes; over > 0 {
		t.text.Next(over)
	}
	return len(p), nil
}

// String returns what was kept.
func (t *Tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(t.text.String())
}
