package timescale

import (
	"context"
	"errors"
	"fmt"

	pgxv5 "github.com/jackc/pgx/v5"

	"github.com/gohub-io/gohub/proto/catalogue"
	"github.com/gohub-io/gohub/storage"
)

// ErrAdopted: the rollups are continuous aggregates already.
var ErrAdopted = errors.New("the rollups are continuous aggregates already")

// AdoptCommunity moves a database that was made on the Apache edition to continuous aggregates. The tables stay, as
// generation 0, and go on counting for the time before today; what comes late for it is still put into them. Today is rolled up
// anew, from its samples. Servers may run meanwhile.
func (s *Store) AdoptCommunity(ctx context.Context) error {
	err := pgxv5.BeginFunc(ctx, s.writes, func(tx pgxv5.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1, $2)", locks, lockSchema); err != nil {
			return err
		}
		var community bool
		if err := tx.QueryRow(ctx, "SELECT current_setting('timescaledb.license') = 'timescale'").Scan(&community); err != nil {
			return err
		}
		if !community {
			return errors.New("this server has TimescaleDB's Apache edition; set timescaledb.license to timescale on one that has the Community edition, then run this again")
		}
		all, err := readGenerations(ctx, tx)
		if err != nil {
			return err
		}
		if all.numbered > 0 {
			return ErrAdopted
		}
		for family := range all.of {
			if err := s.adopt(ctx, tx, family); err != nil {
				return fmt.Errorf("move %s: %w", family.Table, err)
			}
		}
		// The views of analysts stand on the tables, which have other names now.
		marks, err := viewMarks(ctx, tx)
		if err != nil || len(marks) == 0 {
			return err
		}
		return remakeViews(ctx, tx, marks)
	})
	if err != nil {
		return fmt.Errorf("move rollups to continuous aggregates: %w", classify(err))
	}
	return nil
}

// adopt moves one family.
func (s *Store) adopt(ctx context.Context, tx pgxv5.Tx, family *catalogue.Family) error {
	tables := generation{number: moved}
	for _, r := range storage.Resolutions[1:] {
		was, is := r.Relation(family), tables.relation(family, r)
		for _, statement := range []string{
			"ALTER TABLE " + was + " RENAME TO " + is,
			"ALTER INDEX " + was + "_host_time RENAME TO " + is + "_host_time",
		} {
			if _, err := tx.Exec(ctx, statement); err != nil {
				return err
			}
		}
	}
	if err := addGeneration(ctx, tx, family, tables); err != nil {
		return err
	}
	return s.makeAggregates(ctx, tx, family, []generation{tables})
}
