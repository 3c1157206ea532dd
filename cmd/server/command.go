package main

import (
	"io"

	"github.com/spf13/pflag"
)

// command is a command beside serve, with flags of its own and the server's settings from the environment and the
// configuration file.
type command struct {
	flags  *pflag.FlagSet
	config *string
}

func newCommand(name string, stdout io.Writer) command {
	flags := pflag.NewFlagSet("gohub-server "+name, pflag.ContinueOnError)
	flags.SetOutput(stdout)
	return command{flags, flags.String("config", "", "configuration file (YAML)")}
}

// parse returns the settings; pflag.ErrHelp when help was asked for and printed.
func (c command) parse(args, environ []string, stdout io.Writer) (Config, error) {
	if err := c.flags.Parse(args); err != nil {
		return Config{}, err
	}
	var settings []string
	if *c.config != "" {
		settings = []string{"--config", *c.config}
	}
	return loadConfig(settings, environ, stdout)
}
