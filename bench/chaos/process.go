package chaos

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/gohub-io/gohub/bench/rig"
)

// process is a program that can be killed at any moment.
type process struct {
	name    string
	command *exec.Cmd
	log     *rig.Tail
	ended   chan struct{} // closed when it has been waited for, after err is set
	err     error
}

// startProcess runs a program. stdout nil is the log.
func startProcess(name string, command *exec.Cmd, stdout io.Writer) (*process, error) {
	p := &process{name: name, command: command, log: &rig.Tail{}, ended: make(chan struct{})}
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
