package agent

import (
	"os"
	"path/filepath"
	"strings"
)

// physicalInterface says whether an interface is a device of its own: sysfs puts the others under devices/virtual. A
// device that is enslaved to another physical one (the accelerated twin of a virtual machine's card) is counted there.
func physicalInterface(m *machine, name string, _ Filter) bool {
	class := filepath.Join(m.sys, "class/net")
	if !onBus(class, name) {
		return false
	}
	master, err := os.Readlink(filepath.Join(class, name, "master"))
	return err != nil || !onBus(class, filepath.Base(master))
}

func onBus(class, name string) bool {
	target, err := os.Readlink(filepath.Join(class, name))
	return err == nil && !strings.Contains(target, "/virtual/")
}
