package agent

import "regexp"

// Filter chooses names by two regular expressions. A name that Include matches is kept whatever Exclude says; any other
// name is kept unless Exclude matches it. A nil expression matches nothing, so the zero Filter keeps everything.
type Filter struct {
	Include *regexp.Regexp
	Exclude *regexp.Regexp
}

func (f Filter) keeps(name string) bool {
	return f.includes(name) || f.Exclude == nil || !f.Exclude.MatchString(name)
}

// includes says whether the name is asked for by Include, not only left alone by Exclude.
func (f Filter) includes(name string) bool {
	return f.Include != nil && f.Include.MatchString(name)
}

// The expressions that leave out, by default, what is not a resource of the machine. They cover all operating systems:
// the names do not collide.
const (
	// DefaultInterfaceExclude leaves out loopback, container, bridge, tunnel and other virtual interfaces, whose traffic
	// is counted on the physical interface already.
	DefaultInterfaceExclude = `^(lo\d*|veth.*|docker\d*|docker_gwbridge|br-.*|virbr.*|vnet\d+|cali.*|flannel.*|cni.*|cilium.*|lxc.*|lxd.*|` +
		`kube-.*|nodelocaldns|weave|vxlan.*|geneve.*|podman\d*|tap.*|tun\d*|utun\d*|dummy\d*|ifb\d*|sit\d*|gre\d*|gretap\d*|erspan\d*|` +
		`ip6tnl\d*|ip6gre\d*|tunl\d*|ip_vti\d*|ip6_vti\d*|fwbr.*|fwpr.*|fwln.*|nlmon\d*|teql\d*|ovs-system|` + // Linux
		`gif\d+|stf\d+|awdl\d+|llw\d+|anpi\d+|ap\d+|XHC\d+|pktap\d*|bridge\d+|vmenet\d+|` + // macOS
		`Loopback Pseudo-Interface.*|isatap.*|Teredo.*|6to4.*|vEthernet.*)$` // Windows

	// DefaultDiskExclude leaves out memory disks, loop devices, floppy and optical drives, and the hidden paths of
	// multipath NVMe. Partitions are left out by what they are, not by name.
	DefaultDiskExclude = `^((loop|ram|zram|fd|sr)\d+|nvme\d+c\d+n\d+)$`

	// DefaultFilesystemTypeExclude leaves out pseudo filesystems, memory filesystems, read-only images, container layers
	// and, because they belong to another machine and may hang, network filesystems.
	DefaultFilesystemTypeExclude = `^(autofs|binfmt_misc|bpf|cgroup2?|configfs|cpuset|debugfs|devfs|devpts|devtmpfs|efivarfs|fusectl|` +
		`hugetlbfs|mqueue|nsfs|nullfs|pipefs|proc|procfs|pstore|ramfs|rootfs|rpc_pipefs|securityfs|selinuxfs|sockfs|sysfs|tmpfs|` +
		`tracefs|fdescfs|linprocfs|linsysfs|` +
		`squashfs|erofs|cramfs|iso9660|udf|CDFS|UDF|overlay|aufs|` +
		`nfs\d?|cifs|smb\d?|smbfs|afpfs|9p|virtiofs|vboxsf|vmhgfs|afs|ceph|lustre|glusterfs|gpfs|beegfs|ncpfs|coda|webdav|davfs|fuse\..*)$`

	// DefaultMountpointExclude leaves out places where the system, container engines and package managers mount for themselves.
	DefaultMountpointExclude = `^/(dev|proc|sys|snap|run/(credentials|user|docker|containerd|snapd)|var/lib/(docker|containerd|containers|kubelet|lxcfs|snapd)|` +
		`System/Volumes/(VM|Preboot|Update|xarts|iSCPreboot|Hardware)|private/var/vm)($|/)|^/etc/(hosts|hostname|resolv\.conf)$`
)
