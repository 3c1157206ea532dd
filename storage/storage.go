// Package storage is the only part of GoHub that speaks SQL. It defines what is stored and the Store that the two
// drivers, storage/timescale and storage/sqlite, implement. In the data's path it stands between ingest, which
// appends batches, and query, which reads ranges.
package storage

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// Errors that a Store's caller acts on. Drivers wrap them around the database's own error.
var (
	// ErrUnavailable: the database can not be reached or could not finish for a reason that passes. Retry.
	ErrUnavailable = errors.New("database unavailable")
	// ErrBadData: a value among the given rows can not be stored. Retrying the same rows fails again.
	ErrBadData = errors.New("value can not be stored")
	// ErrMisconfigured: the database refuses this server whatever the rows: a password, a privilege, a table. Retry, and tell a
	// person.
	ErrMisconfigured = errors.New("database does not let the server work")
	// ErrNotFound: there is no such row.
	ErrNotFound = errors.New("not found")
	// ErrTooManyRows: a query would return more rows than its limit.
	ErrTooManyRows = errors.New("too many rows")
	// ErrTooManySeries: a query would return more series than its limit.
	ErrTooManySeries = errors.New("too many series")
	// ErrTooManyHosts: an agent is new, and there are as many hosts as Options.MaxHosts lets there be.
	ErrTooManyHosts = errors.New("too many hosts")
)

// HostID names a host within one database. It is small because every row carries it.
type HostID uint32

// Host is one machine that has an agent.
type Host struct {
	ID        HostID
	AgentID   uuid.UUID
	Facts     *gohubv1.HostFacts
	FirstSeen time.Time
	// Labels that the server gives the host, above those of the facts. Store.Hosts tells them, a registration does not.
	Labels map[string]string
	// ClonedAt is when ingest last saw that two machines send as this host; zero if it did not. It is not stored.
	ClonedAt time.Time
}

// Registration is what an agent says of itself when its stream opens.
type Registration struct {
	AgentID uuid.UUID
	// Epoch of the agent's spool, at most 2^63-1.
	Epoch uint64
	Facts *gohubv1.HostFacts
	At    time.Time
}

// Registered answers a Registration.
type Registered struct {
	// Err is ErrTooManyHosts (wrapped) if the agent was not let in; the rest is zero then.
	Err  error
	Host Host
	// Cursor of the registration's epoch.
	Cursor Cursor
}

// Batch is a unit of what one agent sends: it is stored whole or not at all.
type Batch struct {
	Host  HostID
	Epoch uint64
	// Prev is the cursor that the batch follows, and Seq the cursor after it. The batch is stored only if the stored
	// cursor is Prev: that is what makes a redelivered batch harmless.
	Prev, Seq uint64
	// Checksum is what the agent says of the batch's content, and PrevChecksum what it says of the batch that this one follows;
	// 0 if nothing.
	Checksum, PrevChecksum uint32
	// ReceivedAt is when the server had the batch.
	ReceivedAt time.Time
	Rows       Rows
	// Rejected samples go to quarantine in the transaction that advances the cursor over them.
	Rejected []Rejected
	// Gaps are stretches of time whose samples the agent lost.
	Gaps []*gohubv1.Gap
}

// Rejected is a sample that must not reach the sample tables.
type Rejected struct {
	// Wire is the sample in the contract's wire format, as it came.
	Wire   string
	Reason string
}

// Quarantined is a rejected sample as it is kept.
type Quarantined struct {
	Rejected
	Host       HostID
	Epoch, Seq uint64
	ReceivedAt time.Time
	// Bytes is how long the sample is. Of one over MaxListed, Wire is empty.
	Bytes int
}

// MaxListed is how long a rejected sample may be to be listed whole: most have a few KB, and a list has up to 1,000.
const MaxListed = 16 << 10

// MaxQuarantine is about how many rejected samples are kept: enough to see what is wrong, and no way to fill a disk.
const MaxQuarantine = 100_000

// Outcome says what became of an appended batch.
type Outcome int

// The outcomes of an append.
const (
	// Stored: the batch's rows and its cursor are committed.
	Stored Outcome = iota
	// Duplicate: the cursor is at this batch already, its rows were stored earlier.
	Duplicate
	// Passed: the cursor is past the batch. Its rows were stored earlier, if what was stored after them followed them: a copy of
	// the machine may have numbered other batches alike.
	Passed
	// Fenced: the batch neither follows the cursor of its epoch nor is behind it, or its epoch was never registered. Its
	// stream is out of date, or that of a copy of the machine: the number is that of the cursor, the checksum is not.
	Fenced
)

// Latest is the newest stored sample of a host, of the host family.
type Latest struct {
	Host HostID
	Time time.Time
	// Values is indexed by catalogue.Metric.Index. A missing reading is NaN.
	Values []float64
}

// Position says what is stored of a host: it moves in the transaction that stores something.
type Position struct {
	Host HostID
	// Seqs is the sum of the cursors of its spools, modulo 2^64: a batch that is stored adds Seq less Prev to it.
	Seqs uint64
	// Imports moves with each part of an import that stores something and has rows of the host, unless they are older than
	// ImportsTold.
	Imports uint64
}

// ImportsTold is how old rows may be for a Position to tell that they were imported. Who keeps rows in memory, and goes by
// Positions, must not answer for a time before that.
const ImportsTold = 25 * time.Hour

// Session is a user's login in a browser.
type Session struct {
	// TokenHash is derived from the cookie's value by SHA-256; the value itself is never stored.
	TokenHash [32]byte
	User      string
	ExpiresAt time.Time
}

// Description tells what database this is.
type Description struct {
	// Driver is "sqlite" or "timescaledb".
	Driver string
	// Version of the database, with its edition where it has one.
	Version string
}

// Store keeps hosts, samples, alerts and sessions. All methods are safe for concurrent use; all return ErrUnavailable
// (wrapped) when the database is away, and the context's error when it ended first.
type Store interface {
	// Register creates or updates hosts, in one transaction, and makes sure that each registration's epoch has a cursor. It
	// returns one answer a registration. Hosts are created up to Options.MaxHosts, all servers on the database together; one
	// that is there already is never refused.
	Register(ctx context.Context, registrations []Registration) ([]Registered, error)
	// Append stores batches in one durable transaction and returns one outcome a batch. Batches of one host must be
	// in the order of their sequence. On ErrBadData nothing was stored.
	Append(ctx context.Context, batches []*Batch) ([]Outcome, error)
	// Hosts returns every host, by id.
	Hosts(ctx context.Context) ([]Host, error)
	// SetHostLabels replaces the labels that the server gives a host. It returns ErrNotFound if there is no such host.
	SetHostLabels(ctx context.Context, host HostID, labels map[string]string) error
	// Range answers a range query; series are in the order of the query's metrics, then of hosts or groups, then of labels.
	Range(ctx context.Context, q RangeQuery) ([]Series, error)
	// CustomLabels returns the texts of the labels that the query's custom metric has series with, sorted.
	CustomLabels(ctx context.Context, q RangeQuery) ([]string, error)
	// Gaps returns what a host lost between two times, oldest first, at most limit of them.
	Gaps(ctx context.Context, host HostID, from, to time.Time, limit int) ([]*gohubv1.Gap, error)
	// Quarantine returns rejected samples, newest first, at most limit of them; host 0 stands for all hosts. The newest
	// MaxQuarantine are kept.
	Quarantine(ctx context.Context, host HostID, limit int) ([]Quarantined, error)
	// LatestSamples returns the newest sample since a time of every host that has one.
	LatestSamples(ctx context.Context, since time.Time) ([]Latest, error)

	// Positions tells what is stored of hosts; no hosts stand for all. Hosts without a cursor are left out.
	Positions(ctx context.Context, hosts []HostID) ([]Position, error)

	// RollUp rolls samples up as far as they are complete, makes anew what came late, and drops what retention does not keep. A
	// store does so by itself every minute; where another server is at it on the same database, it does nothing.
	RollUp(ctx context.Context) error
	// ContradictClock tells that agents' clocks say that the server's is fast. Then retention does not come to believe it for lack of samples
	// that speak against it, for they stay with the agents.
	ContradictClock()
	// Coverage tells what each resolution has, the finest first.
	Coverage(ctx context.Context) ([]Coverage, error)
	// RollupWatch has the metrics of what the last RollUp left.
	RollupWatch() *RollupWatch

	// Usage tells what the database takes on disk. It may take seconds: a file of SQLite is read for it.
	Usage(ctx context.Context) (Usage, error)

	// SaveAlerts inserts or replaces alerts by their id, and removes those ids that are in gone.
	SaveAlerts(ctx context.Context, alerts []*gohubv1.Alert, gone []string) error
	// Alerts returns the saved alerts.
	Alerts(ctx context.Context) ([]*gohubv1.Alert, error)

	// SaveSession stores a login.
	SaveSession(ctx context.Context, s Session) error
	// FindSession returns the login with that token that has not expired by now, or ErrNotFound.
	FindSession(ctx context.Context, tokenHash [32]byte, now time.Time) (Session, error)
	// LivingSessions returns those of the tokens whose login has not expired by now, in any order.
	LivingSessions(ctx context.Context, tokenHashes [][32]byte, now time.Time) ([][32]byte, error)
	// DeleteSession ends a login, and removes all that have expired by now.
	DeleteSession(ctx context.Context, tokenHash [32]byte, now time.Time) error

	// Ping returns nil if the database answers.
	Ping(ctx context.Context) error
	// Describe tells the driver and the database's version.
	Describe(ctx context.Context) (Description, error)
	// Close waits for running calls and releases the database.
	Close() error
}
