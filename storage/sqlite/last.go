package sqlite

import (
	"database/sql/driver"
	"errors"
	"fmt"

	sqlitedriver "modernc.org/sqlite"
)

// The driver keeps functions for the whole program, hence their prefix.
func init() {
	sqlitedriver.MustRegisterFunction("gohub_last", &sqlitedriver.FunctionImpl{
		NArgs: 2, Deterministic: true,
		MakeAggregate: func(sqlitedriver.FunctionContext) (sqlitedriver.AggregateFunction, error) { return &last{}, nil },
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
	return errors.New("gohub_last is no window function")
}

func (a *last) WindowValue(*sqlitedriver.FunctionContext) (driver.Value, error) { return a.value, nil }

func (a *last) Final(*sqlitedriver.FunctionContext) {}
