# shellcheck shell=bash disable=SC2154
# How `backup` brings a backup back: into its place, into force, and out again where that fails. Sourced after ops.sh; verifying
# and making backups is in `backup` itself.

restore() {
  local file='' start=no config_only=no argument kind
  for argument; do
    case $argument in
      --start) start=yes ;;
      --config-only) config_only=yes ;;
      -h | --help) show_help; return ;;
      -*) misused "backup restore does not know $argument" ;;
      *) [ -z "$file" ] || misused "one backup at a time"; file=$argument ;;
    esac
  done
  [ -n "$file" ] || misused "name the backup to restore"
  needs tar gzip sha256sum
  scratch
  lock backup
  # Before anything is touched, and by its whole path: nothing below depends on the folder this runs in.
  verify "$file" || die "$file is refused, and nothing was changed: $WRONG"
  undo_interrupted
  unpack
  kind=$(sed -n 's/^kind: //p' "$STAGE/MANIFEST")
  BEFORE=''
  if [ -d "$SLUICEGATE_CONFIG_DIR" ]; then
    info "keeping what is there now"
    make "$([ "$kind" = full ] && [ "$config_only" = no ] && echo full || echo config)"
    BEFORE=$MADE
  fi
  WITH_STATE=no
  [ "$kind" != full ] || [ "$config_only" = yes ] || [ ! -d "$STAGE/state" ] || WITH_STATE=yes
  find_units

  at_end undo
  put_in_place
  if take_it "$start"; then
    settle
    sed -n 's/^link: /[WARN] it was a link, and is a file now: /p' "$STAGE/MANIFEST" >&2
    info "restored $file${BEFORE:+; what was there before is in $BEFORE}"
  else
    error "$WRONG"
    undo
    die "the backup was not restored; everything is as it was"
  fi
}

# Sets RUNNING to the units that run, and IN_FORCE to these and those that are enabled: the gateway of the host, and the
# instances. Where there are none, it is the gateway of the host that the backup is for.
find_units() {
  local unit file
  RUNNING=() IN_FORCE=()
  if has_service; then
    while IFS= read -r unit; do
      if is_active "$unit"; then
        RUNNING+=("$unit")
      elif ! service is-enabled --quiet "$unit" 2>/dev/null; then
        continue
      fi
      IN_FORCE+=("$unit")
    done < <(
      {
        echo "$SLUICEGATE_UNIT"
        service list-units --all --plain --no-legend 'sluicegate@*.service' 2>/dev/null | awk '{ print $1 }'
        # Of instances that are enabled and do not run systemd has no list; each has its file, here or in the backup.
        for file in "$SLUICEGATE_CONFIG_DIR"/*.yaml "$STAGE"/config/*.yaml; do
          file=$(basename -- "$file" .yaml)
          [[ ! $file =~ ^[A-Za-z0-9_.:-]+$ ]] || echo "sluicegate@$file.service"
        done
      } | awk '!seen[$0]++'
    )
  fi
  [ "${#IN_FORCE[@]}" -gt 0 ] || IN_FORCE=("$SLUICEGATE_UNIT")
}

# The file that a unit is configured by.
file_of() {
  local name=${1#sluicegate@}
  if [ "$1" = "$SLUICEGATE_UNIT" ]; then echo "$SLUICEGATE_CONFIG"; else echo "$SLUICEGATE_CONFIG_DIR/${name%.service}.yaml"; fi
}

# of_unit UNIT FUNCTION ...: runs it for this unit in the place of the host's one gateway.
of_unit() {
  local unit=$1
  shift
  SLUICEGATE_CONFIG=$(file_of "$unit") SLUICEGATE_UNIT=$unit "$@"
}

# Unpacks into STAGE, beside the configuration so that it can be moved there at once.
unpack() {
  local parent needed
  parent=$(dirname -- "$SLUICEGATE_CONFIG_DIR")
  ! mountpoint -q -- "$SLUICEGATE_CONFIG_DIR" || die "$SLUICEGATE_CONFIG_DIR is a mount: unpack the backup by hand"
  if [ "$(id -u)" -eq 0 ] && grep -qE "^[^ ]+ +$SLUICEGATE_USER/" "$SCRATCH/named" &&
    ! getent passwd "$SLUICEGATE_USER" >/dev/null; then
    die "there is no user $SLUICEGATE_USER here: install the package first"
  fi
  STAGE=$(mktemp -d "$parent/.sluicegate-restore.XXXXXXXX")
  at_end "rm -rf -- $(printf %q "$STAGE")"
  needed=(MANIFEST config environment)
  ! grep -q ' state/' "$SCRATCH/list" || needed+=(state)
  tar --extract --gzip --file="$ARCHIVE" --directory="$STAGE" --same-permissions --keep-old-files --delay-directory-restore \
    -- "${needed[@]}" || die "the backup could not be unpacked, and nothing was changed"
}

# Each folder takes the place of the one that is there, which waits beside it with this ending. One that is found at
# the start is of a run that was killed.
ASIDE=.before-restore

put_in_place() {
  PLACED=yes
  swap "$STAGE/config" "$SLUICEGATE_CONFIG_DIR"
  swap_environment
  if [ "$WITH_STATE" = yes ]; then
    if [ "${#RUNNING[@]}" -gt 0 ]; then
      info "stopping ${RUNNING[*]}: a state is only read at the start"
      service stop "${RUNNING[@]}"
    fi
    swap "$STAGE/state" "$SLUICEGATE_STATE_DIR"
  fi
}

# swap NEW PLACE
swap() {
  if [ -e "$2" ]; then
    mv -T -- "$2" "$2$ASIDE"
  else
    mkdir -- "$2$ASIDE.none"
  fi
  # A state may lie on another file system; the folder is then not there for a moment, and the service is stopped.
  mv -T -- "$1" "$2"
}

swap_environment() {
  local file name
  for file in "$STAGE"/environment/*; do
    [ -f "$file" ] || continue
    name=$ENV_DIR/$(basename -- "$file")
    if [ -e "$name" ]; then mv -T -- "$name" "$name$ASIDE"; else mkdir -- "$name$ASIDE.none"; fi
    cp -p -- "$file" "$name"
  done
}

# Has the gateways take what is in place now. Fails with the reason in WRONG.
take_it() {
  local unit told todo=()
  # All of them first: where one is refused, none has been touched.
  for unit in "${IN_FORCE[@]}"; do
    accepted "$unit" || return 1
  done
  for unit in "${IN_FORCE[@]}"; do
    if ! runs "$unit" && [ "$1" = no ]; then
      info "$unit does not run; start it with: systemctl start $unit"
      continue
    fi
    todo+=("$unit")
    if runs "$unit" && [ "$WITH_STATE" = no ]; then
      if ! told=$(of_unit "$unit" ctl reload 2>&1); then
        WRONG="the running gateway $unit refuses the configuration:"$'\n'"$told"
        return 1
      fi
      printf '%s\n' "$told"
      same_environment "$unit" || warn "variables of $unit are others now: systemctl restart $unit has it take them"
    elif ! told=$(service start "$unit" 2>&1); then
      WRONG="$unit does not start: $told"
      return 1
    fi
  done
  for unit in ${todo[@]+"${todo[@]}"}; do
    if ! of_unit "$unit" gate '' 30 ''; then
      WRONG="the gateway $unit does not serve with it: $GATE"
      return 1
    fi
  done
}

# Whether the configuration that a unit has now is accepted.
accepted() {
  local told file name=${1#sluicegate@}
  name=$SLUICEGATE_LOG_DIR/${name%.service}
  file=$(file_of "$1")
  if [ ! -e "$file" ]; then
    WRONG="$1 is in force on this host, and the backup has no $(basename -- "$file"): systemctl disable --now $1 if it is to go"
    return 1
  fi
  [ -x "$SLUICEGATE_BIN" ] || return 0
  # systemd makes it at the start of an instance, and the check that comes before would miss it.
  [ "$1" = "$SLUICEGATE_UNIT" ] || [ -d "$name" ] || [ ! -d "$SLUICEGATE_LOG_DIR" ] ||
    (umask 027 && mkdir -- "$name" && same_owner "$SLUICEGATE_LOG_DIR" "$name")
  told=$(check_config "$SLUICEGATE_BIN" "$file" "$1" 2>&1) && return 0
  WRONG="the configuration of the backup for $1 is refused:"$'\n'"$told"
  return 1
}

# Whether a unit ran before.
runs() {
  local unit
  for unit in ${RUNNING[@]+"${RUNNING[@]}"}; do
    [ "$unit" != "$1" ] || return 0
  done
  return 1
}

# Whether a unit's environment file is the one that it was started with.
same_environment() {
  local name=${1%.service}
  name=$ENV_DIR/${name/@/-}
  [ ! -e "$name$ASIDE.none" ] || return 1
  [ ! -e "$name$ASIDE" ] || cmp -s -- "$name" "$name$ASIDE"
}

# It is done: what was set aside goes, for it is in the backup that was made.
settle() {
  PLACED=no
  each_aside rm -rf --
  # Where SELinux rules, what was moved in still bears the label of where it was made.
  ! command -v restorecon >/dev/null || restorecon -R "$SLUICEGATE_CONFIG_DIR" "$SLUICEGATE_STATE_DIR" || true
}

# Puts everything back, when it was moved.
undo() {
  [ "${PLACED:-no}" = yes ] || return 0
  PLACED=no
  local unit started=()
  for unit in "${IN_FORCE[@]}"; do
    # Also what was only started by this restore.
    if is_active "$unit" && { [ "$WITH_STATE" = yes ] || ! runs "$unit"; }; then started+=("$unit"); fi
  done
  [ "${#started[@]}" -eq 0 ] || service stop "${started[@]}" || true
  each_aside put_back
  for unit in ${RUNNING[@]+"${RUNNING[@]}"}; do
    if is_active "$unit"; then
      of_unit "$unit" ctl reload >/dev/null || true
    else
      service start "$unit" || error "$unit does not start"
    fi
  done
}

undo_interrupted() {
  local found=no
  note() { found=yes; }
  each_aside note
  [ "$found" = no ] || warn "an earlier restore was killed; what it had moved is put back first"
  each_aside put_back
}

put_back() {
  local place=${1%.none}
  place=${place%"$ASIDE"}
  rm -rf -- "$place"
  case $1 in
    *.none) rmdir -- "$1" ;;
    *) mv -T -- "$1" "$place" ;;
  esac
}

# each_aside COMMAND ...: runs it with each thing that was set aside.
each_aside() {
  local aside
  for aside in {"$SLUICEGATE_CONFIG_DIR","$SLUICEGATE_STATE_DIR","$ENV_DIR"/sluicegate,"$ENV_DIR"/sluicegate-*}"$ASIDE"{,.none}; do
    [ ! -e "$aside" ] || "$@" "$aside"
  done
}
