package chaos

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is a program that can be killed at any moment.
type process struct {
	name    string
	command *exec.Cmd
	log     *tail
	ended   chan struct{} // closed when it has been waited for, after err is set
	err     error
}

// startProcess runs a program. stdout nil is the log.
func startProcess(name string, command *exec.Cmd, stdout io.Writer) (*process, error) {
	p := &process{name: name, command: command, log: &tail{}, ended: make(chan struct{})}
	command.Stderr = p.log
	if command.Stdout = stdout; stdout == nil {
		command.Stdout = p.log
	}
	command.SysProcAttr = ownGroup()
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() { // ends with the process; kill and stop wait for it
		p.err = command.Wait()
		close(p.ended)
	}()
	return p, nil
}

// kill ends the process with SIGKILL, and waits for its end. It may have ended before.
func (p *process) kill() {
	if err := p.command.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return
	}
	<-p.ended
}

// wait waits for an end of the process's own making.
func (p *process) wait(limit time.Duration) error {
	select {
	case <-p.ended:
		if p.err != nil {
			return fmt.Errorf("%s ended badly: %w; it said:\n%s", p.name, p.err, p.log)
		}
		return nil
	case <-time.After(limit):
		p.kill()
		return fmt.Errorf("%s did not end within %s; it said:\n%s", p.name, limit, p.log)
	}
}

func (p *process) stop(limit time.Duration) error {
	if err := p.command.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", p.name, err)
	}
	return p.wait(limit)
}

// tail keeps the end of what a process says.
type tail struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// tailBytes is enough for the words before an end.
const tailBytes = 8 << 10

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text.Write(p)
	if over := t.text.Len() - tailBytes; over > 0 {
		t.text.Next(over)
	}
	return len(p), nil
}

// String returns what was kept.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(t.text.String())
}
