package chaos

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/gohub-io/gohub/bench/oracle"
)

// journal is where an agent process writes what it takes, so that its ledger outlives it. A record is one write of eight
// bytes: what is written outlives a kill, with a sync or without, as the system and not the process holds it.
type journal struct{ file *os.File }

// The kinds of records. A number is a tick, for journalSent that of a batch.
const (
	journalBegin  = 'b' // an append begins
	journalDone   = 'd' // it returned
	journalFailed = 'f' // it returned an error
	journalSent   = 's' // a batch was given to a stream
)

const journalRecord = 8

func openJournal(path string) (*journal, error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the journal: %w", err)
	}
	return &journal{file}, nil
}

// write adds a record. It is safe for concurrent use: a write to the end of a file is one step.
func (j *journal) write(kind byte, agent, count int, number uint32) error {
	var record [journalRecord]byte
	record[0], record[1] = kind, byte(agent)
	binary.LittleEndian.PutUint16(record[2:], uint16(count))
	binary.LittleEndian.PutUint32(record[4:], number)
	if _, err := j.file.Write(record[:]); err != nil {
		return fmt.Errorf("write the journal: %w", err)
	}
	return nil
}

// readJournal adds a journal to a ledger, and returns the newest batch that each agent sent. One that is not there is empty.
func readJournal(path string, ledger *oracle.Ledger) (sent map[int]uint64, err error) {
	content, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read the journal: %w", err)
	}
	if len(content)%journalRecord != 0 {
		return nil, fmt.Errorf("the journal %s ends in the middle of a record: %w", path, io.ErrUnexpectedEOF)
	}
	sent = map[int]uint64{}
	for ; len(content) > 0; content = content[journalRecord:] {
		agent, count := int(content[1]), int(binary.LittleEndian.Uint16(content[2:]))
		number := binary.LittleEndian.Uint32(content[4:])
		switch content[0] {
		case journalBegin:
			ledger.Begin(agent, int(number), count)
		case journalDone:
			ledger.Done(agent, int(number), count)
		case journalFailed:
			ledger.Failed(agent, int(number), count)
		case journalSent:
			sent[agent] = max(sent[agent], uint64(number))
		default:
			return nil, fmt.Errorf("the journal %s has a record of the unknown kind %q", path, content[0])
		}
	}
	return sent, nil
}
