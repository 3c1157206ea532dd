package sqlite

import (
	"database/sql/driver"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"sort"
	"time"

	sqlitedriver "modernc.org/sqlite"
)

// What PostgreSQL has and SQLite lacks. The driver keeps functions for the whole program, hence their prefix.
func init() {
	sqlitedriver.MustRegisterFunction("gohub_quantile", &sqlitedriver.FunctionImpl{
		NArgs: 2, Deterministic: true,
		MakeAggregate: func(sqlitedriver.FunctionContext) (sqlitedriver.AggregateFunction, error) { return &quantile{}, nil },
	})
	sqlitedriver.MustRegisterFunction("gohub_last", &sqlitedriver.FunctionImpl{
		NArgs: 2, Deterministic: true,
		MakeAggregate: func(sqlitedriver.FunctionContext) (sqlitedriver.AggregateFunction, error) { return &last{}, nil },
	})
	sqlitedriver.MustRegisterFunction("gohub_bucket", &sqlitedriver.FunctionImpl{
		NArgs: 2, Deterministic: true, Scalar: bucketOf, VolatileArgs: true,
	})
}

// last is gohub_last(value, time), TimescaleDB's last: the value at the greatest time. It overlooks rows where value is NULL.
type last struct {
	value driver.Value
	time  int64
}

func (a *last) Step(_ *sqlitedriver.FunctionContext, arguments []driver.Value) error {
	if arguments[0] == nil {
		return nil
	}
	time, ok := arguments[1].(int64)
	if !ok {
		return fmt.Errorf("gohub_last: the time is a %T", arguments[1])
	}
	if a.value == nil || time >= a.time {
		a.value, a.time = arguments[0], time
	}
	return nil
}

// WindowInverse would only be called for a window, which no statement has.
func (a *last) WindowInverse(*sqlitedriver.FunctionContext, []driver.Value) error {
	return fmt.Errorf("gohub_last is no window function")
}

func (a *last) WindowValue(*sqlitedriver.FunctionContext) (driver.Value, error) { return a.value, nil }

func (a *last) Final(*sqlitedriver.FunctionContext) {}

// quantile is gohub_quantile(value, q): as percentile_cont, it interpolates between the two nearest values and
// overlooks NULL.
type quantile struct {
	q      float64
	values []float64
}

func (a *quantile) Step(_ *sqlitedriver.FunctionContext, args []driver.Value) error {
	switch value := args[0].(type) {
	case nil:
		return nil
	case float64:
		a.values = append(a.values, value)
	case int64:
		a.values = append(a.values, float64(value))
	default:
		return fmt.Errorf("gohub_quantile of %T", value)
	}
	switch q := args[1].(type) {
	case float64:
		a.q = q
	case int64:
		a.q = float64(q)
	default:
		return fmt.Errorf("gohub_quantile: the quantile is %T", q)
	}
	return nil
}

// WindowInverse would only be called for a window, which no statement has.
func (a *quantile) WindowInverse(*sqlitedriver.FunctionContext, []driver.Value) error {
	return fmt.Errorf("gohub_quantile is no window function")
}

func (a *quantile) WindowValue(*sqlitedriver.FunctionContext) (driver.Value, error) {
	if len(a.values) == 0 {
		return nil, nil
	}
	slices.Sort(a.values)
	place := a.q * float64(len(a.values)-1)
	below := int(math.Floor(place))
	above := min(below+1, len(a.values)-1)
	return a.values[below] + (a.values[above]-a.values[below])*(place-float64(below)), nil
}

func (a *quantile) Final(*sqlitedriver.FunctionContext) { a.values = nil }

// encodeTimes packs times for gohub_bucket, which is called for every row and must not parse anything.
func encodeTimes(times []time.Time) []byte {
	packed := make([]byte, 0, 8*len(times))
	for _, t := range times {
		packed = binary.BigEndian.AppendUint64(packed, uint64(t.UnixMilli()))
	}
	return packed
}

// bucketOf is gohub_bucket(time, times): the latest of the packed times that is not after the time.
func bucketOf(_ *sqlitedriver.FunctionContext, args []driver.Value) (driver.Value, error) {
	at, isTime := args[0].(int64)
	packed, isPacked := args[1].([]byte)
	if !isTime || !isPacked || len(packed)%8 != 0 {
		return nil, fmt.Errorf("gohub_bucket of %T and %T", args[0], args[1])
	}
	edge := func(i int) int64 { return int64(binary.BigEndian.Uint64(packed[8*i:])) }
	after := sort.Search(len(packed)/8, func(i int) bool { return edge(i) > at })
	if after == 0 {
		return nil, nil
	}
	return edge(after - 1), nil
}
