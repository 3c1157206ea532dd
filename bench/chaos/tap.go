package chaos

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"time"
)

// maxMessage bounds what a tap holds of one message: the statement of a flush that moves thousands of cursors is far below.
const maxMessage = 16 << 20

// codeCursorMoved is the SQLSTATE of a commit whose cursors are not where it expects them. An error tells it near its
// beginning, after its severity.
const (
	codeCursorMoved = "GH001"
	maxErrorHead    = 256
)

var errOversized = errors.New("the message is too big to look at")

// stream reads messages from one end of a link and writes them to the other, in as many writes as there are lulls.
type stream struct {
	in  *bufio.Reader
	out *bufio.Writer
}

func newStream(in io.Reader, out io.Writer) *stream {
	return &stream{bufio.NewReaderSize(in, 64<<10), bufio.NewWriterSize(out, 64<<10)}
}

// settle sends what was written, if nothing more waits to be read.
func (s *stream) settle() error {
	if s.in.Buffered() > 0 {
		return nil
	}
	return s.out.Flush()
}

// pass moves a message on: its header, and a body of which none has been read.
func (s *stream) pass(header []byte, body int64) error {
	if _, err := s.out.Write(header); err != nil {
		return err
	}
	_, err := io.CopyN(s.out, s.in, body)
	return err
}

// postgresTap looks at PostgreSQL's protocol, without TLS: messages of a type, a length and a body.
func postgresTap(t *traps) tap {
	return tap{
		up:   func(l *link) error { return tapStatements(l, t) },
		down: func(l *link) error { return tapAnswers(l, t) },
	}
}

func tapStatements(l *link, t *traps) error {
	s := newStream(l.client, l.target)
	var header [5]byte
	if _, err := io.ReadFull(s.in, header[1:]); err != nil { // the first message has no type
		return err
	}
	if err := s.pass(header[1:], int64(binary.BigEndian.Uint32(header[1:]))-4); err != nil {
		return err
	}
	for {
		if err := s.settle(); err != nil {
			return err
		}
		if _, err := io.ReadFull(s.in, header[:]); err != nil {
			l.awaitAnswer()
			return err
		}
		body := int64(binary.BigEndian.Uint32(header[1:])) - 4
		if header[0] != 'Q' {
			if err := s.pass(header[:], body); err != nil {
				return err
			}
			continue
		}
		if body > maxMessage {
			return errOversized
		}
		text := make([]byte, body)
		if _, err := io.ReadFull(s.in, text); err != nil {
			return err
		}
		if err := passStatement(l, t, s, header[:], string(text)); err != nil {
			return err
		}
	}
}

func passStatement(l *link, t *traps, s *stream, header []byte, text string) error {
	commit := strings.Contains(text, "advance_cursors(")
	switch {
	case strings.HasPrefix(text, "COPY "):
		if err := t.pass(beforeCopy); err != nil {
			return err
		}
	case commit:
		if err := t.pass(beforeCommit); err != nil {
			return err
		}
		l.setCommitting(true)
	}
	if _, err := s.out.Write(header); err != nil {
		return err
	}
	if _, err := s.out.WriteString(text); err != nil {
		return err
	}
	if !commit {
		return nil
	}
	if err := s.out.Flush(); err != nil {
		return err
	}
	return t.pass(commitSent)
}

func tapAnswers(l *link, t *traps) error {
	s := newStream(l.target, l.client)
	var header [5]byte
	for {
		if err := s.settle(); err != nil {
			return err
		}
		if _, err := io.ReadFull(s.in, header[:]); err != nil {
			return err
		}
		body := int64(binary.BigEndian.Uint32(header[1:])) - 4
		var after point
		switch header[0] {
		case 'C': // a command is complete
			tag, err := s.in.Peek(int(min(body, 6)))
			if err != nil {
				return err
			}
			if bytes.HasPrefix(tag, []byte("COPY")) {
				after = afterCopy
			} else if string(tag) == "COMMIT" && l.isCommitting() {
				if err := t.pass(commitAnswerLost); err != nil {
					return err
				}
			}
		case 'E': // an error
			text, err := s.in.Peek(int(min(body, maxErrorHead)))
			if err != nil {
				return err
			}
			if l.isCommitting() && bytes.Contains(text, []byte("C"+codeCursorMoved+"\x00")) {
				t.refuse()
			}
		case 'Z': // ready for the next statement
			if l.isCommitting() {
				l.setCommitting(false)
				after = commitAnswered
			}
		}
		if err := s.pass(header[:], body); err != nil {
			return err
		}
		if after == "" {
			continue
		}
		if err := s.out.Flush(); err != nil {
			return err
		}
		if err := t.pass(after); err != nil {
			return err
		}
	}
}

func (l *link) setCommitting(is bool) {
	l.committing.Lock()
	defer l.committing.Unlock()
	if l.answered != nil {
		close(l.answered)
		l.answered = nil
	}
	if is {
		l.answered = make(chan struct{})
	}
}

func (l *link) isCommitting() bool {
	l.committing.Lock()
	defer l.committing.Unlock()
	return l.answered != nil
}

// awaitAnswer waits a while for the answer to a commit whose client is gone, so that it is seen what came of it.
func (l *link) awaitAnswer() {
	l.committing.Lock()
	answered := l.answered
	l.committing.Unlock()
	if answered == nil {
		return
	}
	timer := time.NewTimer(10 * time.Second)
	defer timer.Stop()
	select {
	case <-answered:
	case <-timer.C:
	}
}

// grpcTap looks at what a server answers an agent, by HTTP/2 without TLS: frames of a length, a type, flags, a stream and a
// body. A body of data is a gRPC message: whether it is compressed, its length, and protobuf, whose first byte tells a
// welcome from an acknowledgement.
func grpcTap(t *traps) tap {
	return tap{down: func(l *link) error { return tapResponses(l, t) }}
}

const (
	frameHeader   = 9
	messageHeader = 5
	frameData     = 0
	tagWelcome    = 1<<3 | 2
	tagAck        = 2<<3 | 2
)

func tapResponses(l *link, t *traps) error {
	s := newStream(l.target, l.client)
	var header [frameHeader]byte
	for {
		if err := s.settle(); err != nil {
			return err
		}
		if _, err := io.ReadFull(s.in, header[:]); err != nil {
			return err
		}
		body := int64(header[0])<<16 | int64(header[1])<<8 | int64(header[2])
		var before, after point
		if header[3] == frameData && body > messageHeader {
			head, err := s.in.Peek(messageHeader + 1)
			if err != nil {
				return err
			}
			switch head[messageHeader] {
			case tagWelcome:
				before, after = beforeWelcome, afterWelcome
			case tagAck:
				before, after = beforeAck, afterAck
			}
		}
		if before != "" {
			if err := t.pass(before); err != nil {
				return err
			}
		}
		if err := s.pass(header[:], body); err != nil {
			return err
		}
		if after == "" {
			continue
		}
		if err := s.out.Flush(); err != nil {
			return err
		}
		if err := t.pass(after); err != nil {
			return err
		}
	}
}
