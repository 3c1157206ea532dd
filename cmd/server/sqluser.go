package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/gohub-io/gohub/storage/timescale"
)

// sqlUser makes or drops a database role for an analyst. Its settings are those of the server: the environment and the
// configuration file.
func sqlUser(ctx context.Context, args, environ []string, stdout io.Writer) error {
	c := newCommand("sql-user", stdout)
	passwordFile := c.flags.String("password-file", "", "file that holds the password; without it one is generated")
	drop := c.flags.Bool("drop", false, "drop the role")
	config, err := c.parse(args, environ, stdout)
	if err != nil {
		return err
	}
	if c.flags.NArg() != 1 {
		return errors.New("sql-user takes the name of one role: gohub-server sql-user NAME")
	}
	name := c.flags.Arg(0)
	if config.DatabaseURL == "" {
		return errors.New("SQLite has no roles: sql-user needs a TimescaleDB, named by GOHUB_DATABASE_URL; of SQLite, give analysts a copy of the file")
	}
	if *drop {
		dropped, err := timescale.DropAnalyst(ctx, config.DatabaseURL, name)
		switch {
		case err != nil:
			return err
		case dropped:
			fmt.Fprintf(stdout, "dropped %q\n", name)
		default:
			fmt.Fprintf(stdout, "%q may read nothing of this database any more; the role stays, as it may read others on the same server: drop it with their settings too\n", name)
		}
		return nil
	}
	password := rand.Text()
	if *passwordFile != "" {
		content, err := os.ReadFile(*passwordFile)
		if err != nil {
			return fmt.Errorf("read the password: %w", err)
		}
		password = strings.TrimRight(string(content), "\r\n")
	}
	address, err := timescale.SetAnalyst(ctx, config.DatabaseURL, name, password, *passwordFile != "")
	if errors.Is(err, timescale.ErrAnalystExists) {
		return fmt.Errorf("%w, perhaps for another database on the same server: --password-file gives it a password and this database too, --drop drops it", err)
	}
	if err != nil {
		return err
	}
	fmt.Fprintln(stdout, address)
	if *passwordFile == "" {
		fmt.Fprintln(stdout, "password, shown this once:", password)
	}
	return nil
}
